"""processor.aws_lambda."""
