"""liveinsight.sites.site."""
