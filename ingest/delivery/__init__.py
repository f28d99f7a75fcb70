"""ingest.delivery.direct."""
