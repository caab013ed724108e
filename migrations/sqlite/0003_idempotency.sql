-- Requests that carried an Idempotency-Key, and what they have made: a repeat gets the same and makes nothing.
-- A row is written in the transaction that makes the thing, so there are both or none.
CREATE TABLE idempotency (
    owner       TEXT NOT NULL,                 -- who has sent it; '' while there are no users
    key         TEXT NOT NULL,                 -- the header's value; an item of a batch adds "#" and its position
    fingerprint TEXT NOT NULL,                 -- SHA-256 of method, path and body, in hex: the key is good for this request only
    record      TEXT NOT NULL,                 -- JSON of the run or thread as it was when it was made
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (owner, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_by_age ON idempotency (created_at);
