"""The shared core: everything that ingest, processor and API must agree on.

The core never imports a service, reads no environment and no wall clock; composition roots pass
settings, clients and the clock in.
"""

__version__ = "0.1.0"
