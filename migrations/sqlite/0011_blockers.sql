-- Runs that have blocked the event loop of their worker for so long that it was killed for the sake of the others.

ALTER TABLE runs ADD COLUMN blocked INTEGER NOT NULL DEFAULT 0; -- 1: it goes on in a worker of its own, without a strike
