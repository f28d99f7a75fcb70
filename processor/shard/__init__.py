"""processor.shard."""
