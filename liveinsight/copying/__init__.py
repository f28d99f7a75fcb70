"""Copies all that one backend has counted to another, whose stream goes on.

In: two backends. Out: the target holds what the source holds, compared item by item. How items are stored is the
backends' business; why copied marks look as they do is in docs/growing.md.
"""
