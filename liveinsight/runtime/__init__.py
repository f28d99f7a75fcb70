"""Runtime: what a process of any service needs: logs, metrics, retries, web server, OpenAPI, garbage collection.

In: calls of any other room. Out: log lines, numbers, answers. It knows no event, counter or AWS.
"""
