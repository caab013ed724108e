"""Crons: runs that the clock creates, exactly one for each date that comes while the server runs.

A cron is a row with `next_run_date`. Its states and transitions::

                                    ticker: fires at next_run_date,
                                    ┌─────┐ which moves to the next date
                 registry.create    │     ▼
        request ──────────────────▶ enabled ─────────────────────────────────────▶ disabled
                                       ▲    ticker: no date is left before           │
                                       │    end_time; registry.update: enabled false │
                                       └─────────────────────────────────────────────┘
                                        registry.update: enabled true (the next date is computed again)

    registry.delete, and the deletion of its thread or assistant, remove it; its runs stay.

`schedule` has the grammar, time zones and the next date. `registry` has the operations that clients request.
`requests` makes the run of a cron. `ticker` is the loop that fires: it sleeps until the next date, is woken
when a client has changed something, and acts only on what the table says.

Firing is one transaction (`storage.sqlite.crons.cron_fire_if_current`). If the cron has not changed since it
was read (its `revision`), the date is taken (a row of `firings`, whose key is cron and date), the run is
created and `next_run_date` moves to the first date after now. The run manager dispatches the run like one
that a client requested.

What happens on each failure
    The daemon is killed: before the commit, nothing is stored and the date is due at the next start; after
    it, the run is stored and the date taken.
    The daemon was down: the cron fires once at the start, however many dates have passed, and then at its
    next date. After `end_time` (and `ticker.GRACE_S`) it does not fire and is disabled.
    A client changes or deletes the cron between reading and firing: the revision differs, and the ticker
    reads it again.
    The clock is set back: dates that come again were taken, so none has a second run, and the cron waits for
    the date that it had. The clock is set forward: crons that became due fire once.
    The run can't be created because the thread is busy and the strategy is "reject": the date passes, logged.
    The run can't be created because the thread or the assistant is deleted: the cron is deleted too.
    The run is refused for what the cron's payload says: the date passes, logged.
    The firing can't be stored (the database is locked, the disk is full, a fault of ours): it is tried again
    after a pause that grows to a minute; other crons don't wait for it.
    Dates come while others fire, which may take long: the next read begins at the time of the last one.
    The next date can't be computed: this date fires, then the cron is disabled, logged.
    The run itself fails: the cron goes on; its row counts the failures.
"""
