-- The data dictionary of gatewayd's one SQLite file.
--
-- Times are INTEGER microseconds since the epoch (UTC) unless a column ends in _ms. Ids are TEXT in canonical
-- lower-case form; threads and runs have UUIDv7. JSON is TEXT; what is already encoded for the wire (states, results,
-- event data) is kept in its bytes. Every table is STRICT. One thread of the daemon writes; everybody else reads.

-- Each start of a daemon on this file. A run that is running for another boot than the present one is an orphan.
CREATE TABLE boots (
    boot        INTEGER PRIMARY KEY,
    started_at  INTEGER NOT NULL,
    stopped_at  INTEGER,                       -- NULL: still running, or it was killed
    pid         INTEGER NOT NULL,
    version     TEXT NOT NULL
) STRICT;

-- Named settings of a graph; one made by the server for every graph (metadata.created_by = "system").
CREATE TABLE assistants (
    assistant_id TEXT PRIMARY KEY,
    graph_id     TEXT NOT NULL,
    name         TEXT NOT NULL,
    description  TEXT,
    config       TEXT NOT NULL DEFAULT '{}',
    context      TEXT NOT NULL DEFAULT '{}',
    metadata     TEXT NOT NULL DEFAULT '{}',
    version      INTEGER NOT NULL DEFAULT 1,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL
) STRICT;

-- A conversation. Its columns values, interrupts and error are the projection of the last ended run or state update.
CREATE TABLE threads (
    thread_id        TEXT PRIMARY KEY,
    status           TEXT NOT NULL DEFAULT 'idle' CHECK (status IN ('idle', 'busy', 'interrupted', 'error')),
    created_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL,
    state_updated_at INTEGER NOT NULL,
    metadata         TEXT NOT NULL DEFAULT '{}',
    config           TEXT NOT NULL DEFAULT '{}',
    "values"         BLOB,                     -- JSON; NULL until the first state save
    interrupts       TEXT,                     -- JSON: task id -> list of interrupts; NULL until the first state save
    next             TEXT NOT NULL DEFAULT '[]', -- JSON: names of the nodes that come next
    error            TEXT,                     -- JSON {"error", "message"} of the last run, or NULL
    ephemeral        INTEGER NOT NULL DEFAULT 0, -- 1: belongs to a stateless run and goes with it
    pruned_to        INTEGER NOT NULL DEFAULT 0, -- events with numbers up to this are not kept any more
    events_since     INTEGER,                  -- end of the earliest run whose events are still to be removed, or NULL
    hidden_at        INTEGER,                  -- set when its stateless run has ended: invisible, swept after a while
    deleted_at       INTEGER                   -- set by DELETE: invisible at once, rows swept in small steps
) STRICT;
CREATE INDEX threads_by_update ON threads (updated_at DESC, thread_id)
    WHERE hidden_at IS NULL AND deleted_at IS NULL;
CREATE INDEX threads_to_prune ON threads (events_since, thread_id) WHERE events_since IS NOT NULL;
CREATE INDEX threads_busy ON threads (thread_id) WHERE status = 'busy';
CREATE INDEX threads_to_sweep ON threads (coalesce(deleted_at, hidden_at))
    WHERE hidden_at IS NOT NULL OR deleted_at IS NOT NULL;

-- One execution of a graph on a thread.
CREATE TABLE runs (
    run_id             TEXT PRIMARY KEY,
    thread_id          TEXT NOT NULL REFERENCES threads (thread_id),
    assistant_id       TEXT NOT NULL,
    graph_id           TEXT NOT NULL,
    status             TEXT NOT NULL
        CHECK (status IN ('pending', 'running', 'success', 'error', 'timeout', 'interrupted')),
    created_at         INTEGER NOT NULL,       -- the due time: moment of the request plus after_seconds
    submitted_at       INTEGER NOT NULL,       -- moment of the request
    updated_at         INTEGER NOT NULL,
    started_at         INTEGER,                -- first start
    ended_at           INTEGER,
    metadata           TEXT NOT NULL DEFAULT '{}',
    kwargs             TEXT NOT NULL,          -- JSON as shown on the wire
    multitask_strategy TEXT NOT NULL,
    webhook            TEXT,                   -- URL that is to be told of the end, or NULL
    answers            TEXT,                   -- JSON {interrupt id: answer}: what command.resume answers, bound at creation
    priority           INTEGER NOT NULL DEFAULT 0, -- lower starts first among due runs
    attempt            INTEGER NOT NULL DEFAULT 0, -- number of starts
    strikes            INTEGER NOT NULL DEFAULT 0, -- deaths of its worker without progress
    suspicions         INTEGER NOT NULL DEFAULT 0, -- deaths of the daemon without progress
    progressed         INTEGER NOT NULL DEFAULT 0, -- 1: this attempt has stored a checkpoint or write
    boot               INTEGER,                -- the boot that runs it, while running
    attempt_at         INTEGER,                -- start of the present attempt, while running
    executed_us        INTEGER NOT NULL DEFAULT 0, -- time for which the attempts before have executed
    cancel_action      TEXT CHECK (cancel_action IN ('interrupt', 'rollback', 'error')), -- how it is to be ended
    cancel_error       TEXT,                   -- JSON {"error", "message"} that the thread shows when the cancel is done
    end_checkpoint_id  TEXT,                   -- the thread's root checkpoint when the run ended
    result             BLOB,                   -- JSON that wait and join answer
    error              TEXT,                   -- JSON {"error", "message"}
    log_from           INTEGER NOT NULL DEFAULT 0, -- the run's events have greater numbers than this
    log_to             INTEGER,                -- number of its last event, set at the end
    pruned             INTEGER NOT NULL DEFAULT 0, -- 1: some of its events are not kept any more
    CHECK ((status IN ('pending', 'running')) = (ended_at IS NULL)),
    CHECK ((status = 'running') = (boot IS NOT NULL)),
    CHECK ((status = 'running') = (attempt_at IS NOT NULL)),
    CHECK (status <> 'running' OR started_at IS NOT NULL)
) STRICT;
CREATE INDEX runs_due ON runs (priority, created_at, run_id) WHERE status = 'pending';
CREATE UNIQUE INDEX runs_running ON runs (thread_id) WHERE status = 'running'; -- one at a time on a thread
CREATE INDEX runs_active ON runs (thread_id) WHERE ended_at IS NULL;
CREATE INDEX runs_by_thread ON runs (thread_id, created_at DESC, run_id);

-- Who may change a thread's state at the moment: one run from its first start until it has ended,
-- or one operation (state update, copy, prune) for its duration.
CREATE TABLE slots (
    thread_id TEXT PRIMARY KEY,
    holder    TEXT NOT NULL,                   -- run_id, or the id of the operation
    kind      TEXT NOT NULL CHECK (kind IN ('run', 'operation')),
    boot      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The event log, one per thread, in chunks: the records first_seq … last_seq, all of one run, packed
-- (see gatewayd/streams/record.py). What is here has been committed before any client saw it.
CREATE TABLE events (
    thread_id TEXT NOT NULL,
    last_seq  INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    time_ms   INTEGER NOT NULL,                -- never falls within a thread
    run_id    TEXT NOT NULL,                   -- '' for events of no run
    records   BLOB NOT NULL,
    PRIMARY KEY (thread_id, last_seq)
) STRICT;
CREATE INDEX events_by_run ON events (run_id, last_seq);

-- langgraph's checkpoints. format 1: the whole checkpoint serialised in one piece.
CREATE TABLE checkpoints (
    thread_id            TEXT NOT NULL,
    checkpoint_ns        TEXT NOT NULL,
    checkpoint_id        TEXT NOT NULL,
    parent_checkpoint_id TEXT,
    run_id               TEXT NOT NULL,        -- the run that made it; '' for operations
    format               INTEGER NOT NULL,
    type                 TEXT NOT NULL,        -- tag of the serialiser
    checkpoint           BLOB NOT NULL,
    metadata             TEXT NOT NULL,        -- JSON
    PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id)
) STRICT;
CREATE INDEX checkpoints_by_run ON checkpoints (run_id);

-- Pending writes of a checkpoint's tasks. They may arrive before their checkpoint. A run's writes on a checkpoint that
-- another run has written to stand beside the older rows: for one (task_id, idx) the newest stamp counts.
CREATE TABLE writes (
    thread_id     TEXT NOT NULL,
    checkpoint_ns TEXT NOT NULL,
    checkpoint_id TEXT NOT NULL,
    task_id       TEXT NOT NULL,
    idx           INTEGER NOT NULL,            -- position, or langgraph's negative index of a special channel
    run_id        TEXT NOT NULL,
    stamp         INTEGER NOT NULL,            -- rises with every stored row
    task_path     TEXT NOT NULL,
    channel       TEXT NOT NULL,
    format        INTEGER NOT NULL,
    type          TEXT NOT NULL,
    value         BLOB NOT NULL,
    PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, run_id)
) STRICT;
CREATE INDEX writes_by_run ON writes (run_id);
