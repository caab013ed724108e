-- Whole states in parts (see gatewayd/model/state.py).
--
-- threads."values" and runs.result have one of two forms, told apart by the first byte: JSON, or a manifest (0x93, with
-- which no JSON begins) of blobs that make up the JSON byte by byte. Rows of older versions are JSON.

-- Of events: records whose data is a whole state have a number n instead, and the n-th entry of `parts` is meant, a
-- MessagePack array of [manifest, bytes of the JSON]. NULL: there are none in this chunk.
ALTER TABLE events ADD COLUMN parts BLOB;
-- By how many bytes the chunk is larger than `records` when it is read: the JSON of all of them, and what compressing saved.
ALTER TABLE events ADD COLUMN joined INTEGER NOT NULL DEFAULT 0;

-- events.records may be compressed: its kind as one byte (2 or 5 as in `blobs`), with which no array of MessagePack begins,
-- then the records in that form.

-- Kwargs: their kind as one byte (1, 2 or 5 as in `blobs`), then the JSON in that form; `kwargs` is '{}' then. NULL: they
-- are in `kwargs`.
ALTER TABLE runs ADD COLUMN kwargs_packed BLOB;

-- Where the sweep of blobs looks for manifests.
CREATE INDEX events_with_parts ON events (thread_id) WHERE parts IS NOT NULL;
CREATE INDEX runs_with_parts ON runs (thread_id) WHERE substr(result, 1, 1) = x'93';
