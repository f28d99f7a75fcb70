"""liveinsight.aws.clients."""
