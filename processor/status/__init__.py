"""`liveinsight status`: whether every shard is being counted, and how far each is behind.

In: the stream, checkpoints, watermarks and leases; all are only read. Out: a verdict per shard, as a table or as JSON,
and an exit code for monitors. It works for all runtimes of the worker.
"""
