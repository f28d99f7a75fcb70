"""api.query."""
