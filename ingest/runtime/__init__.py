"""ingest.runtime."""
