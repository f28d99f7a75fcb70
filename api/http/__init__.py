"""HTTP: requests become questions, and results become JSON. Serves the dashboard's files, too.

In: WSGI requests. Out: responses. How a question is answered is the business of `query`.
"""
