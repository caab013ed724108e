"""Plain records that cross layers: frozen, keyword-only, no I/O.

Field names are the wire's words and the columns' names. Times are integer microseconds since the epoch (UTC);
`*_ms` are milliseconds, `*_s` seconds. JSON-shaped parts (`kwargs`, `metadata`, `config`) stay dicts; what
only passes through (states, results) stays encoded as ``bytes``.
"""
