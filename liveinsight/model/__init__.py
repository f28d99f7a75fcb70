"""liveinsight.model."""
