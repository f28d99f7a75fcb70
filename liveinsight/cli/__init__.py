"""Command line: the commands for operators that belong to no service.

In: the command line and the settings. Out: changes of sites, dead letters, the stream and the tables; reports on
standard output; the exit code. `liveinsight.__main__` lists all commands. What the rules of a site mean is the business
of `liveinsight.sites`, how a dead letter comes about of `processor.shard`.
"""
