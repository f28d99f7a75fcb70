"""What processes need while they run, of any service: logs, metrics, retries, web server, garbage collection, terminal.

Nothing here knows events, counters or AWS. Every other room may import it; it imports none.
"""
