"""The way of an event from the worker that emits it to the clients that read it.

Each thread has one append-only log. `log` has the events of all producers stored. Storage gives them
numbers in the transaction that stores them (`storage.sqlite.engine.numbering`). After the commit, `hub`
publishes them. Every reader — the creator of a run, joiners, `wait`, thread streams — is a cursor over that
log with a pace of its own. There are no queues that fill up and no END message that gets lost: the end of a
run is its last record, and later readers find it in storage.

A cursor (`hub.Cursor`) has a position, the number of the last event it has handed out. Its one rule: if the
hub's tail covers the position, read from the tail; else, if more has been published, read a page from
storage; else wait to be woken. Replay and live reading are the same loop, so there is no moment between them
at which an event could be lost or doubled.

Memory: the tails of all threads share one budget; the oldest chunks are evicted first. A thread has a tail
only while it has readers. A cursor holds one page, of 96 KiB or one chunk. A reader that stops reading costs
its page, or the frames made of it, and less than 100 KiB in its socket's buffer (`api.connections`). It does
not delay other readers.

Whole states are stored, and kept in the tails, in parts (`model.state`). A cursor joins them, so code that
makes frames never sees parts. A page's size is that of the joined states.

`v1` turns records into the frames of protocol v1, `v2` into the events of protocol v2. `subscriptions` parses
the filters of v2 readers. `holds` keeps back events of a run that its client has just started and can't use
yet; `earlier` keeps back events that look like the end of that run; `trimming` leaves out the course of runs
that are over. `convert` shows the runs of one protocol in the other, when they are read. A record is written
once, in the form of the protocol over which its run was started. Only the start of a run, its end and its
interrupts are written in both, so that a run costs nothing for readers that it does not have.

What happens to the numbers on each failure
    An operation is undone, a batch is rolled back, the disk is full: the numbers that were given are skipped.
    The log has a gap there, which readers step over. No reader has seen these numbers.
    The end of a run could not be stored: each try takes new numbers.
    The clock is set back: events get the time of the latest event before them.
    The log is trimmed: its newest chunk stays, and numbering continues from it.
    A thread is deleted: readers get the last event of its run with the next number; it is not stored. Another
    thread with the same id begins with 1.
    The daemon is killed: numbering continues behind the newest chunk that was committed.
    The power fails: chunks that were committed and published, but not yet synced, may be lost. They belong to
    a run that was executing, because the end of a run is synced together with everything before it. So the
    numbers of that run's thread jump by 2²⁰ at the next start, and no event id is given twice.
"""
