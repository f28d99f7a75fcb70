"""Importer: access logs become events.

In: lines in the combined format. Out: page views with their original times, through the pipeline that live requests
take.
"""
