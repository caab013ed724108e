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
    -- between them]; 5: in a zstd frame with the dictionary (see gatewayd/blobs/codec.py). The kind inside of 4 is that
    -- of the packed items, or 3 for encrypted ones
    kind      INTEGER NOT NULL CHECK (kind IN (0, 1, 2, 4, 5)),
    body      BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX blobs_by_hash ON blobs (family_id, hash);

-- Metadata of a checkpoint: their kind as one byte (1, 2 or 5 as above), then the JSON in that form; `metadata` is '{}'
-- then. NULL: they are in `metadata`.
ALTER TABLE checkpoints ADD COLUMN metadata_packed BLOB;

-- The column `format` of checkpoints and writes. 1: the value in one piece; 2: a manifest of blobs; 3: the value in one
-- piece, in front of it its kind as one byte (1, 2 or 5 as above). A sealed value (type …+aes) of formats 1 and 3 is sealed
-- in that form.

-- Rows stored before this migration in one piece, converted in small steps: what is left to look at, by rowid.
CREATE TABLE conversions (
    name      TEXT PRIMARY KEY,                -- of the table
    behind    INTEGER NOT NULL,                -- rows up to this one are done
    until     INTEGER NOT NULL                 -- rows behind this one are new
) STRICT, WITHOUT ROWID;
INSERT INTO conversions SELECT 'checkpoints', 0, max(rowid) FROM checkpoints HAVING max(rowid) IS NOT NULL;
INSERT INTO conversions SELECT 'writes', 0, max(rowid) FROM writes HAVING max(rowid) IS NOT NULL;
