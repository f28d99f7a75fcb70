"""Contract: what clients of ingest may send, and the reasons that they get back.

In: nothing. Out: limits, reasons, and the cleaning of text. Checking payloads against them is the business of
`pipeline`.
"""
