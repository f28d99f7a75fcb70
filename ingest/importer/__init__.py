"""ingest.importer."""
