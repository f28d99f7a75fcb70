"""The shared core: what ingest, processor and API must agree on.

    model      events, marks, buckets: the words that everything else uses
    counting   what an event adds to which counters; pure
    storage    protocols of the stream and the store, without a backend
    aws        the backend on Kinesis and DynamoDB
    sites      what a site is, its rules, and the copy that each process keeps
    runtime    logs, web server, garbage collection, terminal output
    cli        commands for operators that belong to no service
    devstack   the whole pipeline on one machine, for development and the demo
    testing    what only tests and benchmarks use; in no wheel

The core imports no service. `model`, `counting`, `storage` and `sites` read no environment and no clock: composition
roots pass settings, clients and the clock in.
"""

__version__ = "0.1.0"
