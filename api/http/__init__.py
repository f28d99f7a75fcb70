"""HTTP: the routes of the read API.

In: GET requests. Out: JSON, or a file of the dashboard. `endpoints` is the table of all endpoints; their parameters are
checked here. What is read from the store is the business of `query`.
"""
