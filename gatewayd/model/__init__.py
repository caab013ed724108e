"""Plain records that cross layers: frozen, keyword-only, no I/O.

Fields have the names of the wire and of the columns. Times are integer microseconds since the epoch (UTC);
`*_ms` are milliseconds, `*_s` seconds. JSON objects (`kwargs`, `metadata`, `config`) are dicts. What is only
passed on (states, results) stays encoded, as ``bytes``.
"""
