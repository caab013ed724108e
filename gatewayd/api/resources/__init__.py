"""Handlers, a module for each resource of the API: they parse, call one thing and reply. Streams are in
`streaming`.
"""
