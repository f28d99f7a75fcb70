"""Stream to store: records are folded into counters and sessions, each exactly once."""
