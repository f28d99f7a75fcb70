"""ingest.contract."""
