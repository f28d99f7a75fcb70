"""The worker on the Kinesis Client Library, for many machines: one child process per shard.

In: settings and signals. Out: records passed to `processor.shard`, and an exit code.

    liveinsight worker --runtime kcl          launcher    writes the files of the daemon, starts it, passes signals
      `- java MultiLangDaemon                 (library)   leases, shards, reads, checkpoints
           |- python -m processor.kcl.child   shard 0     five calls over stdin and stdout, to `RecordProcessor`
           `- python -m processor.kcl.child   shard 1

`amazon_kclpy` is imported by the child only, so everything else installs and runs without it.
"""
