"""Storage in SQLite.

`database` opens the connections, `writing` and `syncing` have the threads that write, `wal` keeps the
write-ahead log short, `failures` translates SQLite's errors. The other modules have one group of tables each,
as functions on a connection.
"""
