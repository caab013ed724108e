-- What each assistant was in each of its versions; the row of `assistants` is what it is now, whatever version that says.
CREATE TABLE assistant_versions (
    assistant_id TEXT NOT NULL REFERENCES assistants (assistant_id) ON DELETE CASCADE,
    version      INTEGER NOT NULL,
    graph_id     TEXT NOT NULL,
    name         TEXT NOT NULL,
    description  TEXT,
    config       TEXT NOT NULL,
    context      TEXT NOT NULL,
    metadata     TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (assistant_id, version)
) STRICT;
INSERT INTO assistant_versions
SELECT assistant_id, version, graph_id, name, description, config, context, metadata, updated_at FROM assistants;

-- 1: the project has not its graph at the moment. It is invisible, and comes back with the graph.
ALTER TABLE assistants ADD COLUMN hidden INTEGER NOT NULL DEFAULT 0 CHECK (hidden IN (0, 1));
