"""liveinsight.testing.builders."""
