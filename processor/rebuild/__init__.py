"""processor.rebuild.command."""
