"""The embedded backend: stream and store as two SQLite files in the data folder of one machine.

In: records, items and states, through the protocols of `liveinsight.storage`. Out: the same, from the disk. Several
processes may use the files at once. docs/one-machine.md says why it is built as it is.
"""
