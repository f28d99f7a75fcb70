"""processor.status.command."""
