"""The life of a run between its row in storage and the worker that executes it.

States, and who moves them: `model.transitions`. Each move is one conditional statement in storage
(`storage.sqlite.runs`).

Rooms, from top to bottom; each imports downwards only:

- `manager`    the façade: all that is done with runs from above, each call in a line or two.
- `admission`  new runs are stored, with what the multitask strategy does to others; why a run waits.
- `intake`     what comes from workers: frames to be stored, deaths, and the limit of what waits for the
  writer.
- `recovery`   the orphans of earlier boots are made pending again before the first request is answered.
- `dispatch`   which run starts next: what is due, free slots, giving a run to a worker, making it pending
  again.
- `cancels`    runs are cancelled, merged, deleted, and fenced off when they do not obey.
- `endings`    how a run ends is stored, however it comes about; `trials`: the run that is tried alone.
- `inflight`   the runs that workers have, and the phases of their lives.
- `waiters`    the futures of those who wait for the end of a run.
- `engine`     what all of them stand on: storage, log, workers, limits; `counts`: the numbers for metrics.

Recording is not bound to a request: the manager posts the end of a run to the writer, even if the client has
left.

What happens on each failure
    A worker dies: its runs are requeued and go on from their last checkpoint. A run whose worker died with it
    without having stored anything new gets a strike; with strikes it runs alone in a quarantine worker; with
    `max_retries` strikes, the last one alone, it is put aside with an error that says so.
    The daemon dies: the next boot requeues its runs; they go on the same way. One at which it has died three
    times without progress is tried alone (`trials`), and put aside if it dies once more. A cancel that had
    been stored is carried out then, the run is not resumed.
    A worker is killed because its loop was blocked: the run that blocked it goes on in a quarantine worker
    until it has stored something new, the others go on as before; it is no strike.
    A cancel is not obeyed within `cancel_deadline_s`: the run is *fenced off*. It is recorded as cancelled
    and those who wait for its result get it; what it still sends is refused, and the thread stays
    locked by it. Its worker is retired: it gets no new runs, hands its other runs back and is killed. Only
    then can the next run start, and is a waiting cancel answered.
    Waiting runs are merged into the oldest and the daemon dies: all of it is stored or nothing, and the next
    boot ends those that were merged. If that is to be merged into the run that executes, the wish is stored;
    the next attempt of that run carries it out. The update of its state and the end of the other are one
    transaction.
    A run is deleted while it executes: it is stopped the same way, and its lock, too, is kept until nothing
    executes.
    A cancel is stored while the run's end is on its way: the run ends as cancelled, whatever its
    graph made of that.
    What a run has sent can't be stored (disk full): the worker is told, and the run fails at its next saver
    call.
    The end of a run can't be stored (disk full): it is tried again until it can; until then the run stays
    running.
    The daemon is told to stop: no new runs are admitted or started; running ones are handed back before their
    next step, those still in a step after `drain_s` are cancelled and handed back; they are pending in
    storage.
"""
