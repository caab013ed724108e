"""The life of a run between its row in storage and the worker that executes it.

States, and who moves them (each move is one conditional statement in storage, see `storage.sqlite.runs`)::

                  manager.create          claims / create            worker: ended
        request ────────────────▶ pending ──────────────▶ running ─────────────────▶ success | error |
                                     ▲                        │                       timeout | interrupted
                                     └────────────────────────┘
                                      park: the worker died, the daemon died, or the run was handed back

`manager.RunManager` owns the runs that execute (`flight.Flight`): it gives them to workers, numbers and stores what
comes back, ends them, and tells whoever waits. `claims` starts what is due: it is woken by hints (a run created, a
place freed) and by the clock, and believes only the table. `recovery` makes the orphans of earlier boots pending
again before the first request is answered. `operations` are what else changes a thread's state: updates, copies and
prunes take the same slot as a run. `sweeper` removes what has been deleted.

What must be recorded is not bound to a request: ending a run is posted to the writer by the manager, whatever becomes
of the client.

What happens on each failure
    A worker dies: its runs are parked and go on from their last checkpoint. A run whose worker died with it without
    having stored anything new gets a strike; with strikes it runs alone in a quarantine worker; with
    `max_retries` strikes, the last one alone, it is put aside with an error that says so.
    The daemon dies: the next boot parks its runs; they go on the same way. A cancel that had been stored is carried
    out then, the run is not resumed.
    A cancel is not obeyed within `cancel_deadline_s`: the worker is killed, which makes the cancel true; its other
    runs go on elsewhere from their checkpoints, without a strike. A run deleted while it executes is stopped the same
    way; its place is free when nothing of it executes any more.
    What a run has sent can't be stored (disk full): the worker is told, and the run fails at its next saver call.
    The end of a run can't be stored (disk full): it is tried again until it can; the run stays running meanwhile.
    The daemon is told to stop: no new runs are admitted or started; running ones are handed back before their next
    step, those still in a step after `drain_s` are cancelled and handed back; they are pending in storage.
"""
