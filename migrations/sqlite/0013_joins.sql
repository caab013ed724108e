-- Joining a run's stream behind one of its checkpoints.

-- The number of the thread's newest event when the checkpoint was stored: what comes later came after it. NULL in copies, and
-- in checkpoints that are older than this column.
ALTER TABLE checkpoints ADD COLUMN seq INTEGER;
