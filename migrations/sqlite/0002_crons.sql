-- Runs that are created by the clock.
CREATE TABLE crons (
    cron_id          TEXT PRIMARY KEY,         -- UUIDv7
    assistant_id     TEXT NOT NULL REFERENCES assistants (assistant_id) ON DELETE CASCADE,
    thread_id        TEXT REFERENCES threads (thread_id) ON DELETE CASCADE, -- NULL: a new thread for every run
    user_id          TEXT NOT NULL DEFAULT '', -- identity of whoever created it
    schedule         TEXT NOT NULL,            -- as the client wrote it
    timezone         TEXT,                     -- IANA name; NULL: UTC
    end_time         INTEGER,                  -- no date after it counts; NULL: no end
    on_run_completed TEXT CHECK (on_run_completed IN ('delete', 'keep')), -- NULL if and only if it has a thread
    enabled          INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    next_run_date    INTEGER,                  -- next date at which it fires; NULL: no date is left
    payload          TEXT NOT NULL,            -- JSON: the client's body, from which each run is made
    metadata         TEXT NOT NULL DEFAULT '{}',
    revision         INTEGER NOT NULL DEFAULT 1, -- rises with every change and firing: who acts on what he has read says it
    created_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL,         -- last change by a client; firing does not touch it
    CHECK (NOT enabled OR next_run_date IS NOT NULL),
    CHECK ((thread_id IS NULL) = (on_run_completed IS NOT NULL))
) STRICT;
CREATE INDEX crons_due ON crons (next_run_date, cron_id) WHERE enabled;
CREATE INDEX crons_by_thread ON crons (thread_id) WHERE thread_id IS NOT NULL;
CREATE INDEX crons_by_assistant ON crons (assistant_id);

-- The latest dates for which each cron has fired. A date is taken by its row, in the transaction that creates its run,
-- so no date can have two runs.
CREATE TABLE firings (
    cron_id  TEXT NOT NULL REFERENCES crons (cron_id) ON DELETE CASCADE,
    due      INTEGER NOT NULL,                 -- the date of the schedule
    fired_at INTEGER NOT NULL,
    run_id   TEXT,                             -- NULL: no run could be created (the thread was busy)
    PRIMARY KEY (cron_id, due)
) STRICT, WITHOUT ROWID;

-- A deleted thread is only marked at first, and a hidden one is swept later; its crons go at once.
CREATE TRIGGER crons_of_gone_threads AFTER UPDATE OF deleted_at, hidden_at ON threads
    WHEN NEW.deleted_at IS NOT NULL OR NEW.hidden_at IS NOT NULL
BEGIN
    DELETE FROM crons WHERE thread_id = NEW.thread_id;
END;
