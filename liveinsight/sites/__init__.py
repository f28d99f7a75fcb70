"""Sites: what a site is, its rules, where the list of sites is kept, and the copy that each process has.

In: changes by operators. Out: the current sites. What the rules mean for an event is the business of `ingest.pipeline`.
"""
