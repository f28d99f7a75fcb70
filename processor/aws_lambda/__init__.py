"""The worker as an AWS Lambda function with a Kinesis event source mapping.

In: the events of the mapping, each a batch of one shard. Out: an answer that names the first record that is not
counted. A claim keeps batches of one shard from being counted at the same time. Counting is the business of `shard`.
"""
