"""Crons: runs that the clock creates, exactly one for each date that comes while the server runs.

A cron is a row with `next_run_date`. States, and who moves them::

                                    ticker: fires at next_run_date,
                                    ┌─────┐ which moves to the next date
                 registry.create    │     ▼
        request ──────────────────▶ enabled ─────────────────────────────────────▶ disabled
                                       ▲    ticker: no date is left before           │
                                       │    end_time; registry.update: enabled false │
                                       └─────────────────────────────────────────────┘
                                        registry.update: enabled true (the next date is found again)

    registry.delete, and the deletion of its thread or assistant, remove it; runs that it has created stay.

`schedule` knows the grammar, time zones and the next date. `registry` is what requests ask for. `requests`
makes the run of a cron. `ticker` is the loop that fires: it sleeps until the next date, is woken when a
client has changed something, and believes only the table.

Firing is one transaction (`storage.sqlite.crons.cron_fire_if_current`): if the cron is still as it was read
(its `revision`), the date is taken (a row of `firings`, whose key is cron and date), the run is created and
`next_run_date` moves to the first date after now. The run manager dispatches the run as if a client had asked
for it.

What happens on each failure
    The daemon is killed: before the commit nothing has happened, and the date is still due at the next start;
    after it the run is stored, and the date taken.
    The daemon was down: however many dates have passed, the cron fires once at the start, then at the next
    date from then on. After `end_time` (and `ticker.GRACE_S`) it does not fire any more, it is disabled.
    A client changes or deletes the cron between reading and firing: the revision has moved on, the ticker
    looks again.
    The clock is set back: the dates until it has caught up are taken, so none has a second run; a cron waits
    for the date that it had. The clock is set forward: what became due fires, once.
    The run can't be created because the thread is busy and the strategy is "reject": the date passes, logged.
    Because the thread or the assistant is gone: the cron goes with it.
    The run is refused for what the cron's payload says: the date passes, logged.
    Anything else keeps a date from being stored (the database is locked, the disk full, a fault of ours):
    nothing was stored, the date is tried again after a pause that grows to a minute; other crons don't wait
    for it.
    Dates come while others fire, which may take long: the next look begins where the last one was.
    The next date can't be found: this date fires, then the cron is disabled, logged.
    The run itself fails: no matter to the cron.
"""
