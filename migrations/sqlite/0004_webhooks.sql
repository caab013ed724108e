-- What is owed to receivers of webhooks: one row for every ended run that asked for it, written in the transaction that
-- ended the run. It outlives run and thread; rows that are not owed any more are swept after a while.
CREATE TABLE webhooks (
    delivery_id TEXT PRIMARY KEY,              -- UUIDv7; the same in every attempt
    run_id      TEXT NOT NULL,
    thread_id   TEXT NOT NULL,
    url         TEXT NOT NULL,
    run         TEXT NOT NULL,                 -- JSON of the run's row at its end, without its result
    status      TEXT NOT NULL,                 -- what the receiver is told: the run's status, or "rollback"
    error       TEXT,                          -- JSON {"error", "message"}, or NULL
    created_at  INTEGER NOT NULL,              -- moment of the run's end
    state       TEXT NOT NULL DEFAULT 'owed' CHECK (state IN ('owed', 'delivered', 'dead')),
    attempts    INTEGER NOT NULL DEFAULT 0,    -- attempts that have ended
    due_at      INTEGER,                       -- when the next attempt is due, while owed
    CHECK ((state = 'owed') = (due_at IS NOT NULL))
) STRICT;
CREATE INDEX webhooks_due ON webhooks (due_at) WHERE state = 'owed';
CREATE INDEX webhooks_by_run ON webhooks (run_id);
CREATE INDEX webhooks_over ON webhooks (created_at) WHERE state <> 'owed';

-- The delivery log: how each attempt has ended.
CREATE TABLE webhook_attempts (
    delivery_id TEXT NOT NULL REFERENCES webhooks (delivery_id) ON DELETE CASCADE,
    attempt     INTEGER NOT NULL,              -- from 1
    started_at  INTEGER NOT NULL,
    took_us     INTEGER NOT NULL,
    status      INTEGER,                       -- HTTP status, or NULL if there was no answer
    error       TEXT,                          -- what went wrong, or NULL
    PRIMARY KEY (delivery_id, attempt)
) STRICT, WITHOUT ROWID;
