"""ingest.http."""
