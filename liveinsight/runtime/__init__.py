"""liveinsight.runtime."""
