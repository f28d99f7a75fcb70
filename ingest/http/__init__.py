"""HTTP: requests become calls of the pipeline, and outcomes become answers.

In: WSGI requests. Out: responses, always JSON or an image. Nothing about events is decided here.
"""
