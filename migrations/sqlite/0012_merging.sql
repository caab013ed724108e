-- Runs that are merged into one that executes.

-- The run into which this one, which waits on the same thread, is to be merged at a step of that run; NULL: into none.
-- If that run ends first, this one follows it as any other.
ALTER TABLE runs ADD COLUMN into_run TEXT;
