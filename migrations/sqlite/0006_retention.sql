-- How long threads are kept. A thread whose time is over, counted from its last activity (updated_at), is removed, or all
-- but its latest states are. NULL in both columns: it is kept for ever.
ALTER TABLE threads ADD COLUMN ttl_strategy TEXT CHECK (ttl_strategy IN ('delete', 'keep_latest'));
ALTER TABLE threads ADD COLUMN ttl INTEGER CHECK ((ttl IS NULL) = (ttl_strategy IS NULL) AND ttl > 0); -- microseconds
-- What updated_at was when keep_latest was done last: it is not done again before something has happened on the thread.
ALTER TABLE threads ADD COLUMN ttl_done_at INTEGER;
-- An expression, so that whoever touches a thread renews it without knowing of this.
CREATE INDEX threads_to_expire ON threads (updated_at + ttl, thread_id)
    WHERE ttl IS NOT NULL AND deleted_at IS NULL AND hidden_at IS NULL AND ttl_done_at IS NOT updated_at;

-- What threads get that are created from now on: one row, or none. What a thread has got it keeps when this changes.
CREATE TABLE default_ttl (
    only_one INTEGER PRIMARY KEY DEFAULT 1 CHECK (only_one = 1),
    strategy TEXT NOT NULL CHECK (strategy IN ('delete', 'keep_latest')),
    ttl      INTEGER NOT NULL CHECK (ttl > 0)  -- microseconds
) STRICT;

-- Threads come about in several ways (asked for, by a run, as a copy); those of stateless runs go by themselves.
CREATE TRIGGER ttl_of_new_threads AFTER INSERT ON threads
    WHEN NOT NEW.ephemeral AND NEW.ttl IS NULL
BEGIN
    UPDATE threads SET ttl_strategy = default_ttl.strategy, ttl = default_ttl.ttl
    FROM default_ttl WHERE threads.thread_id = NEW.thread_id;
END;
