"""The life of an event between the worker that emitted it and the clients that read it.

One append-only log per thread is the stream. `log` numbers what arrives, in one place, for every producer;
storage commits it; only then `hub` publishes it. Everybody who reads — the creator of a run, joiners, `wait`,
thread streams — is a cursor over that log with a pace of its own. There are no queues to fill and no END
message to lose: the end of a run is its last record, and whoever comes later finds it in storage.

A cursor (`hub.Cursor`) has a position, the number of the last event it has handed out. Its one rule: if the
hub's tail covers the position, read from the tail; else, if more has been published, read a page from
storage; else wait to be woken. Replay and live reading are the same loop, so there is no moment between them
at which an event could be lost or doubled.

Memory: the tails of all threads share one budget, oldest first out, and a thread has a tail only while
somebody reads it. A cursor holds one page, of 96 KiB or one chunk. A reader that stops reading costs its
page, or the frames made of it, and less than 100 KiB in its socket's buffer (`api.connections`), and delays
nobody.

Whole states are stored, and kept in the tails, in parts (`model.state`). A cursor gives them out joined, so
whoever makes frames of its pages never sees a part; a page is cut by what it has when joined.

`v1` turns records into the frames of protocol v1, `v2` into the events of protocol v2, `subscriptions` reads
what a reader of v2 wants, `holds` keeps back what it can't use yet of a run that it has just started,
`earlier` what would look like the end of that run. Either protocol shows the runs of the other by `convert`,
on reading. A record is written once, in the words of the protocol over which its run was started; but for the
start and the end of a run and its questions, which every run has in both, nobody pays for readers that a run
does not have.
"""
