"""The processor: counts the events of the stream, each exactly once.

In: records of the stream. Out: counters, visitors and timelines in the store. `shard` counts one shard; `embedded`,
`kcl` and `aws_lambda` are the runtimes that drive it; `status`, `verify` and `rebuild` are commands for operators.
"""
