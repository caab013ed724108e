"""The seam: everything that is stored, behind one operation per state change.

Above this package no SQL is known. `store.Storage` is a Protocol, put together from one for each noun
(`boots`, `assistants`, `threads`, `runs`, `events`, `operations`, `retention`, `crons`, `webhooks`): there
stands what an operation promises, and the records that it takes and returns. Names say object, verb and
condition (`run_finish_if_active`): of two callers racing, one wins. `opening` opens the backend there is:
`sqlite`. A second one offers the same names and passes the same tests.

In SQLite an operation is one function run in the writer's thread inside one transaction, or a short read on a
read-only connection; the condition in its name is its statement's WHERE. A new operation is a function in
`sqlite`, a line in `sqlite.store` that binds it to its name, and a sentence in the Protocol.

Writing
    `sqlite.engine.writing.Writer` owns the only writing connection, in a thread of its own. Operations wait
    in one queue; the thread takes all that wait into one transaction, commits, and only then answers their
    futures. FIFO: what a crash leaves behind is always a prefix of what was asked. A batch that contains a
    *promise* (a run accepted, ended or cancelled) is answered when the write-ahead log has been synced to
    the disk, by a thread beside the writer (`sqlite.engine.syncing`), everything else after its commit;
    always in the order in which it was asked. What may begin before it is promised (the worker's part in a
    run that was started in the moment of its creation) is told between the two, for a sync takes
    milliseconds. The connection itself stays at synchronous=NORMAL: a sync of the log after the commit is
    all that FULL would add.

Failure
    An operation that raises leaves nothing behind and its caller gets the exception; its neighbours in the
    batch are not touched. Most raise before they change anything, and nothing need be done; if one has
    changed something, the transaction is rolled back and its operations are executed again, with a savepoint
    each (which would cost all others a tenth of their time). So an operation may be executed twice, and does
    nothing but change the database. If the commit itself fails, every operation of the batch fails with it,
    and the connection is rolled back. Nothing is ever half stored, also when the caller was cancelled in the
    meantime.

    What SQLite itself refuses is translated in one place (`sqlite.engine.failures`), for writer and readers
    alike. While another process holds the lock of the file, the writer tries again every few milliseconds:
    what runs have sent waits for it, requests get `Unavailable`, all of them together after
    `writing.LOCK_PATIENCE_S`, and later ones at once. A damaged file does not start
    (`sqlite.engine.integrity`). Who meets damage later, reading or writing, tells `failures.Damage`, and
    from then on the writer begins transactions that can only read.

Quota
    `quota.Quota` is asked before a run or thread is made (`max_db_size`, `min_free_disk`): in the store, so
    that no way of making one can forget it. When the disk is full all the same, the operations of the batch
    are tried one by one, so that a large one takes no others with it; what is refused gets
    `InsufficientStorage` and nothing of it is stored. `sqlite.engine.wal` keeps the write-ahead log short,
    `sqlite.engine.space` gives free pages back, `sqlite.retention` says whose time is over.

Reading
    aiosqlite connections with query_only, whole small results, never an open cursor across an await. Rows
    whose states are in parts are read with their pieces on one snapshot, in threads of their own
    (`sqlite.engine.snapshots`); what readers of the log share of states is kept (`sqlite.joined`). The
    writer never joins a state.
"""
