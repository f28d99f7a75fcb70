"""ingest.enrichment."""
