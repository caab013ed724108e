"""Requests as values: the bytes of a body, its JSON, the fields of each kind of body, and queries, paths and
headers.

Knows nothing of services: what a value means is decided by what a handler calls.
"""
