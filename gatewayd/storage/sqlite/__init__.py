"""SQLite: `database` has the connections, the other modules one table group each, as functions on a connection."""
