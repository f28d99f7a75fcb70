"""processor.verify.command."""
