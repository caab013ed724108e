"""The tables of blobs in SQLite: the only modules of this package that know SQL.

- `tables`  `blobs`, `families` and `thread_families`: storing, reading, adopting, marking.
- `sweep`   freeing what nothing refers to, in small steps.
"""
