"""bench.support."""
