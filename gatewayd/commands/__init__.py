"""The commands ``gatewayd db …``: what an operator does with the database, apart from serving it.

- `report` tells what takes how much room; it works beside a running daemon.
- `compacting` rebuilds the file without free pages. The daemon must be stopped.
- `importing` brings in the threads of a database of langgraph's own SQLite saver. The daemon must be stopped.
  A service worker computes the states, as it does while serving: so langgraph and the project are imported
  there and not in the command's process.

A command that needs the daemon stopped holds the data directory (`datadir.held`). Each returns what there is
to say, which `cli` prints; errors that end a command are raised.
"""
