"""ingest.tracing."""
