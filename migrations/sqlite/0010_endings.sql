-- Why runs ended as they did, for operators: what is kept beside the error that clients see.

-- The full text and the traceback of the exception that ended a run: kind as one byte (see 0005), then the text.
ALTER TABLE runs ADD COLUMN error_trace BLOB;

-- Runs of all threads that failed, latest first. (Those that have not ended are few, the others are met by their ids.)
CREATE INDEX runs_failed_latest ON runs (status, run_id) WHERE status IN ('error', 'timeout', 'interrupted');

-- The last run of a cron, and how it ended.
ALTER TABLE crons ADD COLUMN last_run_id TEXT;         -- NULL: it has not fired yet
ALTER TABLE crons ADD COLUMN last_thread_id TEXT;      -- that run's thread
ALTER TABLE crons ADD COLUMN last_fired_at INTEGER;    -- when that run was made
ALTER TABLE crons ADD COLUMN last_status TEXT;         -- how that run ended; NULL: it has not, or its row was removed before
ALTER TABLE crons ADD COLUMN last_error TEXT;          -- JSON {"error", "message"} of that run, or NULL
ALTER TABLE crons ADD COLUMN failures INTEGER NOT NULL DEFAULT 0; -- runs that failed since the last success
CREATE INDEX firings_by_run ON firings (run_id) WHERE run_id IS NOT NULL;

-- 1: a cron's run on this ephemeral thread has failed; it is swept later than those of other ended stateless runs.
ALTER TABLE threads ADD COLUMN kept INTEGER NOT NULL DEFAULT 0;
DROP INDEX threads_to_sweep;
CREATE INDEX threads_to_sweep_deleted ON threads (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX threads_to_sweep_hidden ON threads (kept, hidden_at) WHERE hidden_at IS NOT NULL AND deleted_at IS NULL;
