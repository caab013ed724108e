-- What searches of threads are answered from, so that none of them reads the whole table.

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
DROP INDEX threads_by_update;

-- The scalars at the top of the metadata of threads that can be seen. They only narrow a search: what is found is
-- compared with the metadata themselves. Names and texts of more than 200 characters are left out.
CREATE TABLE thread_tags (
    name      TEXT NOT NULL,
    value     ANY NOT NULL,                    -- a number; 's' and the text; 'null', 'true' or 'false'
    thread_id TEXT NOT NULL,
    PRIMARY KEY (name, value, thread_id)
) STRICT, WITHOUT ROWID;

-- Triggers, because metadata are written in several ways (by a client, a run, a copy) and none must forget it.
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

-- In the order of the table: a million threads take some seconds.
INSERT INTO thread_tags (name, value, thread_id)
SELECT tag.key,
    CASE tag.type WHEN 'text' THEN 's' || tag.value WHEN 'integer' THEN tag.value WHEN 'real' THEN tag.value
        ELSE tag.type END,
    threads.thread_id
FROM threads, json_each(threads.metadata) AS tag
WHERE threads.hidden_at IS NULL AND threads.deleted_at IS NULL AND tag.type NOT IN ('object', 'array')
    AND length(tag.key) <= 200 AND (tag.type <> 'text' OR length(tag.value) <= 200)
ORDER BY 1, 2, 3;

-- A thread's runs of a status: the ways to fail are rare and would be looked for among all the others.
CREATE INDEX runs_failed ON runs (thread_id, status, created_at DESC, run_id)
    WHERE status IN ('error', 'timeout', 'interrupted');

-- Pages of crons, in every order.
CREATE INDEX crons_by_creation ON crons (created_at, cron_id);
CREATE INDEX crons_by_update ON crons (updated_at, cron_id);
CREATE INDEX crons_by_date ON crons (next_run_date, cron_id);
CREATE INDEX crons_by_end ON crons (end_time, cron_id);
DROP INDEX crons_by_assistant;
DROP INDEX crons_by_thread;
CREATE INDEX crons_by_assistant ON crons (assistant_id, cron_id);
CREATE INDEX crons_by_thread ON crons (thread_id, cron_id);
