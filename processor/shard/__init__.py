"""Counting of one shard, the same under every runtime.

In: the five calls that a runtime makes for a shard (`RecordProcessor`), and a store. Out: counters, visitors,
timelines, dead letters and the watermark in the store; then the checkpoint. `embedded`, `kcl` and `aws_lambda` decide
which shards to read and when; the arithmetic is in `liveinsight.counting`.
"""
