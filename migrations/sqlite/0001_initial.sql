-- The data dictionary of gatewayd's one SQLite file.
--
-- Times are INTEGER microseconds since the epoch (UTC) unless a column ends in _ms. Ids are TEXT in canonical
-- lower-case form; threads and runs have UUIDv7. JSON is TEXT; what is already encoded for the wire (states, results,
-- event data) is stored in its bytes. Every table is STRICT. One thread of the daemon writes; everything else only reads.
--
-- A packed value is a BLOB whose first byte is its kind: 1 as it is, 2 in a zstd frame, 5 in a zstd frame with the
-- dictionary of gatewayd/blobs/codec.py. The content in that form follows.

-- Each start of a daemon on this file. A run that is running for another boot than the present one is an orphan.
CREATE TABLE boots (
    boot        INTEGER PRIMARY KEY,           -- counts the starts
    started_at  INTEGER NOT NULL,
    stopped_at  INTEGER,                       -- NULL: still running, or it was killed
    pid         INTEGER NOT NULL,              -- process id of the daemon
    version     TEXT NOT NULL                  -- of gatewayd
) STRICT;

-- Assistants ---------------------------------------------------------------------------------------------------------

-- Named settings of a graph; the server makes one for every graph (metadata.created_by = "system").
CREATE TABLE assistants (
    assistant_id TEXT PRIMARY KEY,
    graph_id     TEXT NOT NULL,                -- name of the graph in langgraph.json
    name         TEXT NOT NULL,
    description  TEXT,                         -- NULL: none
    config       TEXT NOT NULL DEFAULT '{}',   -- JSON object, as are context and metadata
    context      TEXT NOT NULL DEFAULT '{}',
    metadata     TEXT NOT NULL DEFAULT '{}',
    version      INTEGER NOT NULL DEFAULT 1,   -- which of assistant_versions this row shows
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    hidden       INTEGER NOT NULL DEFAULT 0 CHECK (hidden IN (0, 1)) -- 1: invisible until its graph is back
) STRICT;

-- What each assistant was in each of its versions; the columns are those of assistants.
CREATE TABLE assistant_versions (
    assistant_id TEXT NOT NULL REFERENCES assistants (assistant_id) ON DELETE CASCADE,
    version      INTEGER NOT NULL,             -- from 1
    graph_id     TEXT NOT NULL,
    name         TEXT NOT NULL,
    description  TEXT,
    config       TEXT NOT NULL,
    context      TEXT NOT NULL,
    metadata     TEXT NOT NULL,
    created_at   INTEGER NOT NULL,             -- of the version
    PRIMARY KEY (assistant_id, version)
) STRICT;

-- Threads ------------------------------------------------------------------------------------------------------------

-- A conversation. Its columns values, interrupts, next and error are the projection of the last ended run or state
-- update.
CREATE TABLE threads (
    thread_id        TEXT PRIMARY KEY,
    status           TEXT NOT NULL DEFAULT 'idle' CHECK (status IN ('idle', 'busy', 'interrupted', 'error')),
    created_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL,         -- last activity: a run admitted or ended, a change by a client
    state_updated_at INTEGER NOT NULL,         -- last change of the state
    metadata         TEXT NOT NULL DEFAULT '{}', -- JSON object
    config           TEXT NOT NULL DEFAULT '{}', -- JSON object
    -- The state. JSON, or a manifest of blobs that make up the JSON byte by byte; a manifest begins with 0x93, with which
    -- no JSON begins. NULL until the first state is saved.
    "values"         BLOB,
    interrupts       TEXT,                     -- JSON: task id -> list of interrupts; NULL as values
    next             TEXT NOT NULL DEFAULT '[]', -- JSON: names of the nodes that come next
    error            TEXT,                     -- JSON {"error", "message"} of the last run, or NULL
    ephemeral        INTEGER NOT NULL DEFAULT 0, -- 1: belongs to a stateless run and is removed with it
    pruned_to        INTEGER NOT NULL DEFAULT 0, -- events with numbers up to this have been removed
    events_since     INTEGER,                  -- end of the earliest run whose events are still to be removed, or NULL
    hidden_at        INTEGER,                  -- when its stateless run ended: invisible since, swept after a while
    deleted_at       INTEGER,                  -- when it was deleted: invisible since, its rows are swept in small steps
    -- How long the thread is kept. When its time is over, counted from updated_at, it is deleted, or all but its latest
    -- states are. NULL in both columns: it is kept for ever.
    ttl_strategy     TEXT CHECK (ttl_strategy IN ('delete', 'keep_latest')),
    ttl              INTEGER CHECK ((ttl IS NULL) = (ttl_strategy IS NULL) AND ttl > 0), -- microseconds
    -- What updated_at was when keep_latest was done last: it is not done again before something happens on the thread.
    ttl_done_at      INTEGER,
    -- 1: ephemeral, and a cron's run on it has failed: it can still be read, and is swept later than others.
    cron_failed      INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX threads_to_prune ON threads (events_since, thread_id) WHERE events_since IS NOT NULL;
CREATE INDEX threads_busy ON threads (thread_id) WHERE status = 'busy';
CREATE INDEX threads_to_sweep_deleted ON threads (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX threads_to_sweep_hidden ON threads (cron_failed, hidden_at)
    WHERE hidden_at IS NOT NULL AND deleted_at IS NULL;
-- An expression, so that every update of updated_at renews the time to live.
CREATE INDEX threads_to_expire ON threads (updated_at + ttl, thread_id)
    WHERE ttl IS NOT NULL AND deleted_at IS NULL AND hidden_at IS NULL AND ttl_done_at IS NOT updated_at;
-- A page of a search is read in its order, one status at a time or the statuses merged. The last two columns are always
-- NULL here: with them the index has all that is asked for, and the rows of the table are not read.
CREATE INDEX threads_by_status ON threads (status, thread_id, hidden_at, deleted_at)
    WHERE hidden_at IS NULL AND deleted_at IS NULL;
CREATE INDEX threads_by_status_created ON threads (status, created_at, thread_id, hidden_at, deleted_at)
    WHERE hidden_at IS NULL AND deleted_at IS NULL;
CREATE INDEX threads_by_status_updated ON threads (status, updated_at, thread_id, hidden_at, deleted_at)
    WHERE hidden_at IS NULL AND deleted_at IS NULL;
CREATE INDEX threads_by_status_state ON threads (status, state_updated_at, thread_id, hidden_at, deleted_at)
    WHERE hidden_at IS NULL AND deleted_at IS NULL;

-- The scalars at the top of the metadata of visible threads. They only narrow a search: the metadata themselves are
-- compared afterwards. Names and texts of more than 200 characters are left out.
CREATE TABLE thread_tags (
    name      TEXT NOT NULL,
    value     ANY NOT NULL,                    -- a number; 's' and the text; 'null', 'true' or 'false'
    thread_id TEXT NOT NULL,
    PRIMARY KEY (name, value, thread_id)
) STRICT, WITHOUT ROWID;

-- Triggers, because metadata are written in several ways (by a client, a run, a copy) and none may forget the tags.
CREATE TRIGGER thread_tags_of_new AFTER INSERT ON threads
    WHEN NEW.metadata <> '{}' AND NEW.hidden_at IS NULL AND NEW.deleted_at IS NULL
BEGIN
    INSERT INTO thread_tags (name, value, thread_id)
    SELECT key, CASE type WHEN 'text' THEN 's' || value WHEN 'integer' THEN value WHEN 'real' THEN value ELSE type END,
        NEW.thread_id
    FROM json_each(NEW.metadata) WHERE type NOT IN ('object', 'array') AND length(key) <= 200
        AND (type <> 'text' OR length(value) <= 200);
END;
CREATE TRIGGER thread_tags_of_changed AFTER UPDATE OF metadata, hidden_at, deleted_at ON threads
    WHEN NEW.metadata IS NOT OLD.metadata
        OR (NEW.hidden_at IS NULL AND NEW.deleted_at IS NULL) <> (OLD.hidden_at IS NULL AND OLD.deleted_at IS NULL)
BEGIN
    DELETE FROM thread_tags WHERE (name, value, thread_id) IN (
        SELECT key,
            CASE type WHEN 'text' THEN 's' || value WHEN 'integer' THEN value WHEN 'real' THEN value ELSE type END,
            OLD.thread_id
        FROM json_each(OLD.metadata) WHERE type NOT IN ('object', 'array'));
    INSERT INTO thread_tags (name, value, thread_id)
    SELECT key, CASE type WHEN 'text' THEN 's' || value WHEN 'integer' THEN value WHEN 'real' THEN value ELSE type END,
        NEW.thread_id
    FROM json_each(NEW.metadata) WHERE type NOT IN ('object', 'array') AND length(key) <= 200
        AND (type <> 'text' OR length(value) <= 200) AND NEW.hidden_at IS NULL AND NEW.deleted_at IS NULL;
END;
CREATE TRIGGER thread_tags_of_removed AFTER DELETE ON threads
    WHEN OLD.hidden_at IS NULL AND OLD.deleted_at IS NULL
BEGIN
    DELETE FROM thread_tags WHERE (name, value, thread_id) IN (
        SELECT key,
            CASE type WHEN 'text' THEN 's' || value WHEN 'integer' THEN value WHEN 'real' THEN value ELSE type END,
            OLD.thread_id
        FROM json_each(OLD.metadata) WHERE type NOT IN ('object', 'array'));
END;

-- The time to live that new threads get: one row, or none. A change of it does not touch threads that exist.
CREATE TABLE default_ttl (
    only_one INTEGER PRIMARY KEY DEFAULT 1 CHECK (only_one = 1),
    strategy TEXT NOT NULL CHECK (strategy IN ('delete', 'keep_latest')), -- as threads.ttl_strategy
    ttl      INTEGER NOT NULL CHECK (ttl > 0)  -- microseconds
) STRICT;

-- A trigger, because threads are created in several ways (by a client, a run, a copy). Threads of stateless runs are
-- removed with their runs.
CREATE TRIGGER ttl_of_new_threads AFTER INSERT ON threads
    WHEN NOT NEW.ephemeral AND NEW.ttl IS NULL
BEGIN
    UPDATE threads SET ttl_strategy = default_ttl.strategy, ttl = default_ttl.ttl
    FROM default_ttl WHERE threads.thread_id = NEW.thread_id;
END;

-- Who may change a thread's state at the moment: one run from its first start until it has ended, or one operation
-- (state update, copy, prune) for its duration.
CREATE TABLE thread_locks (
    thread_id TEXT PRIMARY KEY,
    holder    TEXT NOT NULL,                   -- run_id, or the id of the operation
    kind      TEXT NOT NULL CHECK (kind IN ('run', 'operation')),
    boot      INTEGER NOT NULL                 -- of the daemon that gave it
) STRICT, WITHOUT ROWID;

-- Runs ---------------------------------------------------------------------------------------------------------------

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
    started_at         INTEGER,                -- first start; NULL: it has not started
    ended_at           INTEGER,                -- NULL: it has not ended
    metadata           TEXT NOT NULL DEFAULT '{}', -- JSON object
    kwargs             TEXT NOT NULL,          -- JSON as shown on the wire, or '{}' beside kwargs_packed
    multitask_strategy TEXT NOT NULL,          -- as on the wire: enqueue, reject, interrupt or rollback
    webhook            TEXT,                   -- URL that is to be told of the end, or NULL
    answers            TEXT,                   -- JSON {interrupt id: answer} of command.resume, bound at creation
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
    result             BLOB,                   -- what wait and join answer: JSON or a manifest, as threads.values
    error              TEXT,                   -- JSON {"error", "message"}, or NULL
    log_from           INTEGER NOT NULL DEFAULT 0, -- the run's events have greater numbers than this
    log_to             INTEGER,                -- number of its last event, set at the end
    pruned             INTEGER NOT NULL DEFAULT 0, -- 1: some of its events have been removed
    kwargs_packed      BLOB,                   -- packed JSON of the kwargs; NULL: they are in kwargs
    error_trace        BLOB,                   -- packed text and traceback of the exception that ended it, for operators
    -- 1: it blocked the event loop of a worker, which was killed for the sake of the others. It goes on in a worker of its
    -- own, without a strike.
    blocked            INTEGER NOT NULL DEFAULT 0,
    -- The run into which this one, which waits on the same thread, is to be merged at a step of that run. If that run ends
    -- first, this one follows it. NULL: none.
    into_run           TEXT,
    CHECK ((status IN ('pending', 'running')) = (ended_at IS NULL)),
    CHECK ((status = 'running') = (boot IS NOT NULL)),
    CHECK ((status = 'running') = (attempt_at IS NOT NULL)),
    CHECK (status <> 'running' OR started_at IS NOT NULL)
) STRICT;
CREATE INDEX runs_due ON runs (priority, created_at, run_id) WHERE status = 'pending';
CREATE UNIQUE INDEX runs_running ON runs (thread_id) WHERE status = 'running'; -- one at a time on a thread
CREATE INDEX runs_active ON runs (thread_id) WHERE ended_at IS NULL;
CREATE INDEX runs_by_thread ON runs (thread_id, created_at DESC, run_id);
-- A thread's runs of a status: those that failed are rare and would be looked for among all the others.
CREATE INDEX runs_failed ON runs (thread_id, status, created_at DESC, run_id)
    WHERE status IN ('error', 'timeout', 'interrupted');
-- Runs of all threads that failed, latest first. (Those that have not ended are few, the others are met by their ids.)
CREATE INDEX runs_failed_latest ON runs (status, run_id) WHERE status IN ('error', 'timeout', 'interrupted');
-- Where the sweep of blobs looks for manifests.
CREATE INDEX runs_with_parts ON runs (thread_id) WHERE substr(result, 1, 1) = x'93';

-- Requests that carried an Idempotency-Key, and what they made: a repeat gets the first answer and makes nothing. A row
-- is written in the transaction that makes the thing, so there are both or none.
CREATE TABLE idempotency (
    owner       TEXT NOT NULL,                 -- who sent it; '' while there are no users
    key         TEXT NOT NULL,                 -- the header's value; an item of a batch adds "#" and its position
    fingerprint TEXT NOT NULL,                 -- SHA-256 of method, path and body, in hex: the key is for this request only
    record      TEXT NOT NULL,                 -- JSON of the run or thread as it was when it was made
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (owner, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_by_age ON idempotency (created_at);

-- Events -------------------------------------------------------------------------------------------------------------

-- The event log, one per thread, in chunks: the records first_seq … last_seq, all of one run
-- (see gatewayd/model/event.py). What is stored here has been committed before any client sees it.
CREATE TABLE events (
    thread_id   TEXT NOT NULL,
    last_seq    INTEGER NOT NULL,              -- number of the last record
    first_seq   INTEGER NOT NULL,
    time_ms     INTEGER NOT NULL,              -- never falls within a thread
    run_id      TEXT NOT NULL,                 -- '' for events of no run
    -- MessagePack array of records, plain or packed with kind 2 or 5, with which no array of MessagePack begins.
    records     BLOB NOT NULL,
    -- MessagePack array of [manifest, bytes of the JSON]: whole states. A record whose data is a whole state has a number
    -- n instead, and the n-th entry is meant. NULL: no record has.
    parts       BLOB,
    saved_bytes INTEGER NOT NULL DEFAULT 0,    -- how much larger than `records` the chunk is when it is read
    PRIMARY KEY (thread_id, last_seq)
) STRICT;
CREATE INDEX events_by_run ON events (run_id, last_seq);
-- Where the sweep of blobs looks for manifests.
CREATE INDEX events_with_parts ON events (thread_id) WHERE parts IS NOT NULL;

-- Checkpoints --------------------------------------------------------------------------------------------------------

-- langgraph's checkpoints (see gatewayd/checkpointing). The column format, here and in writes, says how the serialised
-- value is stored. 1: in one piece; 2: a manifest of blobs; 3: packed. A sealed value (type …+aes) of formats 1 and 3 is
-- sealed in that form.
CREATE TABLE checkpoints (
    thread_id            TEXT NOT NULL,
    checkpoint_ns        TEXT NOT NULL,        -- '' is the root graph, others are subgraphs
    checkpoint_id        TEXT NOT NULL,        -- UUIDv6: sorts by time
    parent_checkpoint_id TEXT,                 -- NULL: the first of its thread and namespace
    run_id               TEXT NOT NULL,        -- the run that made it; '' for operations
    format               INTEGER NOT NULL,
    type                 TEXT NOT NULL,        -- tag of the serialiser
    checkpoint           BLOB NOT NULL,
    metadata             TEXT NOT NULL,        -- JSON, or '{}' beside metadata_packed
    metadata_packed      BLOB,                 -- packed JSON of the metadata; NULL: they are in metadata
    PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id)
) STRICT;
CREATE INDEX checkpoints_by_run ON checkpoints (run_id);

-- Pending writes of a checkpoint's tasks. They may arrive before their checkpoint. A run's writes on a checkpoint that
-- another run has written to stand beside the older rows. On reading, a task's regular writes are those of the run that
-- wrote the task last, as a whole; special writes (negative idx) count one by one, the newest each.
CREATE TABLE writes (
    thread_id     TEXT NOT NULL,
    checkpoint_ns TEXT NOT NULL,
    checkpoint_id TEXT NOT NULL,
    task_id       TEXT NOT NULL,
    idx           INTEGER NOT NULL,            -- position, or langgraph's negative index of a special channel
    run_id        TEXT NOT NULL,               -- the run that wrote it; '' for operations
    stamp         INTEGER NOT NULL,            -- rises with every stored row
    task_path     TEXT NOT NULL,
    channel       TEXT NOT NULL,
    format        INTEGER NOT NULL,            -- as in checkpoints
    type          TEXT NOT NULL,               -- tag of the serialiser
    value         BLOB NOT NULL,
    PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, run_id)
) STRICT;
CREATE INDEX writes_by_run ON writes (run_id);

-- Imported rows of format 1 that are turned into format 2 in small steps: what is left to look at, by rowid.
CREATE TABLE conversions (
    name     TEXT PRIMARY KEY,                 -- of the table
    done_to  INTEGER NOT NULL,                 -- rows up to this one have been looked at
    last_row INTEGER NOT NULL                  -- rows behind this one need not be looked at
) STRICT, WITHOUT ROWID;

-- Large values in pieces ---------------------------------------------------------------------------------------------

-- A thread and the copies made of it share their blobs. A row that has a manifest refers to blobs of its thread's family
-- (see gatewayd/blobs).
CREATE TABLE families (
    family_id INTEGER PRIMARY KEY,
    garbage   INTEGER NOT NULL DEFAULT 0,      -- rises whenever rows with manifests are removed; 0: nothing to sweep
    sweep     TEXT                             -- id of the sweep under way; set to NULL by everything that stores a blob
) STRICT;
CREATE INDEX families_to_sweep ON families (family_id) WHERE garbage > 0;

-- The family of each thread that has, or had, manifests. The sweep removes the rows of threads that have none any more.
CREATE TABLE thread_families (
    thread_id TEXT PRIMARY KEY,
    family_id INTEGER NOT NULL REFERENCES families (family_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX thread_families_by_family ON thread_families (family_id, thread_id);

-- The pieces. Ids are given in the order of storing, so that a conversation's new pieces lie side by side.
CREATE TABLE blobs (
    blob_id   INTEGER PRIMARY KEY,
    family_id INTEGER NOT NULL,
    hash      BLOB NOT NULL,                   -- of the content, 16 bytes
    -- 0: hashes of its children; 1, 2, 5: as in packed values; 4: MessagePack [hashes of texts, kind, what stands
    -- between them], where the inner kind is that of the packed items, or 3 for encrypted ones
    kind      INTEGER NOT NULL CHECK (kind IN (0, 1, 2, 4, 5)),
    body      BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX blobs_by_hash ON blobs (family_id, hash);

-- Crons --------------------------------------------------------------------------------------------------------------

-- Runs that are created by the clock.
CREATE TABLE crons (
    cron_id          TEXT PRIMARY KEY,         -- UUIDv7
    assistant_id     TEXT NOT NULL REFERENCES assistants (assistant_id) ON DELETE CASCADE,
    thread_id        TEXT REFERENCES threads (thread_id) ON DELETE CASCADE, -- NULL: a new thread for every run
    user_id          TEXT NOT NULL DEFAULT '', -- identity of the user who created it; '' while there are no users
    schedule         TEXT NOT NULL,            -- as the client wrote it
    timezone         TEXT,                     -- IANA name; NULL: UTC
    end_time         INTEGER,                  -- no date after it counts; NULL: no end
    on_run_completed TEXT CHECK (on_run_completed IN ('delete', 'keep')), -- NULL if and only if it has a thread
    enabled          INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    next_run_date    INTEGER,                  -- next date at which it fires; NULL: no date is left
    payload          TEXT NOT NULL,            -- JSON: the client's body, from which each run is made
    metadata         TEXT NOT NULL DEFAULT '{}', -- JSON object
    revision         INTEGER NOT NULL DEFAULT 1, -- rises with every change and firing; a change names what it has read
    created_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL,         -- last change by a client; firing does not touch it
    last_run_id      TEXT,                     -- the latest run; NULL: it has not fired yet
    last_thread_id   TEXT,                     -- that run's thread
    last_fired_at    INTEGER,                  -- when that run was made
    last_status      TEXT,                     -- how that run ended; NULL: it has not, or its row was removed before
    last_error       TEXT,                     -- JSON {"error", "message"} of that run, or NULL
    failures         INTEGER NOT NULL DEFAULT 0, -- runs that failed since the last success
    CHECK (NOT enabled OR next_run_date IS NOT NULL),
    CHECK ((thread_id IS NULL) = (on_run_completed IS NOT NULL))
) STRICT;
CREATE INDEX crons_due ON crons (next_run_date, cron_id) WHERE enabled;
CREATE INDEX crons_by_thread ON crons (thread_id, cron_id);
CREATE INDEX crons_by_assistant ON crons (assistant_id, cron_id);
-- Pages of crons, in every order.
CREATE INDEX crons_by_creation ON crons (created_at, cron_id);
CREATE INDEX crons_by_update ON crons (updated_at, cron_id);
CREATE INDEX crons_by_date ON crons (next_run_date, cron_id);
CREATE INDEX crons_by_end ON crons (end_time, cron_id);

-- The latest dates for which each cron has fired. A date is taken by its row, in the transaction that creates its run,
-- so no date can have two runs.
CREATE TABLE firings (
    cron_id  TEXT NOT NULL REFERENCES crons (cron_id) ON DELETE CASCADE,
    due      INTEGER NOT NULL,                 -- the date of the schedule
    fired_at INTEGER NOT NULL,
    run_id   TEXT,                             -- NULL: no run could be created (the thread was busy)
    PRIMARY KEY (cron_id, due)
) STRICT, WITHOUT ROWID;
CREATE INDEX firings_by_run ON firings (run_id) WHERE run_id IS NOT NULL;

-- A deleted thread is only marked at first, and a hidden one is swept later; their crons are removed at once.
CREATE TRIGGER crons_of_gone_threads AFTER UPDATE OF deleted_at, hidden_at ON threads
    WHEN NEW.deleted_at IS NOT NULL OR NEW.hidden_at IS NOT NULL
BEGIN
    DELETE FROM crons WHERE thread_id = NEW.thread_id;
END;

-- Webhooks -----------------------------------------------------------------------------------------------------------

-- What is owed to receivers of webhooks: one row for every ended run that asked for it, written in the transaction that
-- ended the run. It outlives run and thread; rows that are not owed any more are swept after a while.
CREATE TABLE webhooks (
    delivery_id TEXT PRIMARY KEY,              -- UUIDv7; the same in every attempt
    run_id      TEXT NOT NULL,
    thread_id   TEXT NOT NULL,
    url         TEXT NOT NULL,                 -- of the receiver
    run         TEXT NOT NULL,                 -- JSON of the run's row at its end, without its result
    status      TEXT NOT NULL,                 -- what the receiver is told: the run's status, or "rollback"
    error       TEXT,                          -- JSON {"error", "message"}, or NULL
    created_at  INTEGER NOT NULL,              -- moment of the run's end
    state       TEXT NOT NULL DEFAULT 'owed' CHECK (state IN ('owed', 'delivered', 'dead')), -- dead: given up
    attempts    INTEGER NOT NULL DEFAULT 0,    -- attempts that have ended
    due_at      INTEGER,                       -- when the next attempt is due, while owed
    CHECK ((state = 'owed') = (due_at IS NOT NULL))
) STRICT;
CREATE INDEX webhooks_due ON webhooks (due_at) WHERE state = 'owed';
CREATE INDEX webhooks_by_run ON webhooks (run_id);
CREATE INDEX webhooks_over ON webhooks (created_at) WHERE state <> 'owed';

-- The delivery log: how each attempt ended.
CREATE TABLE webhook_attempts (
    delivery_id TEXT NOT NULL REFERENCES webhooks (delivery_id) ON DELETE CASCADE,
    attempt     INTEGER NOT NULL,              -- from 1
    started_at  INTEGER NOT NULL,
    took_us     INTEGER NOT NULL,
    status      INTEGER,                       -- HTTP status, or NULL if there was no answer
    error       TEXT,                          -- what went wrong, or NULL
    PRIMARY KEY (delivery_id, attempt)
) STRICT, WITHOUT ROWID;
