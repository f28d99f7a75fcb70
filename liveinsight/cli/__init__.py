"""liveinsight.cli."""
