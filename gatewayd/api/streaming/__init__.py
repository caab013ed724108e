"""Responses and connections that last: event streams of both protocols, WebSockets, and JSON that waits for
the end of a run.

Commands of protocol v2 are here too: they come over a WebSocket or as a request, and are answered by the same
function.
"""
