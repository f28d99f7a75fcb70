"""ingest.pipeline.pipeline."""
