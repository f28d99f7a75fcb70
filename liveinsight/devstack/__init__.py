"""liveinsight.devstack."""
