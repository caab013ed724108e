"""The database file: its connections and the writer's thread, the write-ahead log, disk space, migrations.

Knows no table but that of the migrations and, to number them, the events: what rows mean is said by the
modules above.
"""
