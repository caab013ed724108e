"""SQLite: `database` has the connections, `writing` and `syncing` the threads that write, `wal` the log's
length, `disk` what it refuses; the other modules one table group each, as functions on a connection.
"""
