"""`liveinsight verify`: an independent check of the stored counters.

In: the records that the stream or an archive still holds, and the stored counters. Out: every measure that differs.
The count is made without the code of `liveinsight.counting`. Counters that are incomplete or still change are left out.
"""
