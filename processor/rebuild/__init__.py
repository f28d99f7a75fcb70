"""`liveinsight rebuild`: counts the stream again into a new generation of counters, and switches to it.

In: the records that the stream still holds. Out: a generation of tables, its differences from the current one, and a
changed pointer to the generations in use. Reading several generations as one is the business of `liveinsight.storage`.
"""
