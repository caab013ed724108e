"""The tables `checkpoints` and `writes` in SQLite: the only modules of this package that know SQL.

- `statements`  the statements that read, and what all have in common.
- `changes`     applying operations, and deleting by run and by thread.
- `steps`       copying and pruning a thread, in steps that the writer can afford.
- `search`      the one statement that is put together: listing with filters, in pages.
- `reader`      the reads of a worker, by name.
- `convert`     rows of format 1 that are larger than that, turned into format 2 in the background.
"""
