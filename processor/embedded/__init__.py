"""processor.embedded."""
