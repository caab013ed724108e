"""The commands ``gatewayd db …``: what an operator does with the database beside serving it.

- `report` tells what takes how much, beside a running daemon if there is one.
- `compacting` rebuilds the file without free pages; the daemon is stopped meanwhile.
- `importing` brings in the threads of a stock SQLite saver; the daemon is stopped meanwhile. The states are
  computed by a service worker, as while serving: langgraph and the project are imported there and not here.

Each returns the exit code; what it says goes to stdout. Errors that end a command are raised and told by
`cli`.
"""
