"""liveinsight.counting."""
