"""liveinsight.storage."""
