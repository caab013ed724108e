-- Large values in pieces (see gatewayd/blobs). A row that has a manifest refers to blobs of its thread's family.

-- A thread and the copies made of it.
CREATE TABLE families (
    family_id INTEGER PRIMARY KEY,
    garbage   INTEGER NOT NULL DEFAULT 0,      -- rises whenever rows with manifests go; 0: nothing to sweep
    sweep     TEXT                             -- id of the sweep under way; taken off by whoever stores meanwhile
) STRICT;
CREATE INDEX families_to_sweep ON families (family_id) WHERE garbage > 0;

-- The family of each thread that has, or had, manifests. The sweep takes off those that have none any more.
CREATE TABLE thread_families (
    thread_id TEXT PRIMARY KEY,
    family_id INTEGER NOT NULL REFERENCES families (family_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX thread_families_by_family ON thread_families (family_id, thread_id);

-- In the order of storing, so that a conversation's new pieces lie side by side.
CREATE TABLE blobs (
    blob_id   INTEGER PRIMARY KEY,
    family_id INTEGER NOT NULL,
    hash      BLOB NOT NULL,                   -- of the content, 16 bytes
    -- 0: hashes of its children; 1: as it is; 2: in a zstd frame; 4: MessagePack [hashes of texts, kind, what stands
    -- between them], where kind is 1 or 2 for the packed items as they are or in a zstd frame, 3 for encrypted ones
    kind      INTEGER NOT NULL CHECK (kind IN (0, 1, 2, 4)),
    body      BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX blobs_by_hash ON blobs (family_id, hash);

-- Rows stored before this migration in one piece, converted in small steps: what is left to look at, by rowid.
CREATE TABLE conversions (
    name      TEXT PRIMARY KEY,                -- of the table
    behind    INTEGER NOT NULL,                -- rows up to this one are done
    until     INTEGER NOT NULL                 -- rows behind this one are new
) STRICT, WITHOUT ROWID;
INSERT INTO conversions SELECT 'checkpoints', 0, max(rowid) FROM checkpoints HAVING max(rowid) IS NOT NULL;
INSERT INTO conversions SELECT 'writes', 0, max(rowid) FROM writes HAVING max(rowid) IS NOT NULL;
