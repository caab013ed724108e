"""langgraph's checkpoints as rows: what a saver sends, what the writer does with it, and how it is read back.

No langgraph here and no connection of our own: the daemon's writer applies operations inside its
transactions, workers read through their read-only connection, and both take shapes and statements from this
package, so that each exists once.

    worker: Saver ──operation──▶ channel ──▶ daemon's writer: changes.apply(connection, operation, run_id)
       ▲                                                              │
       └────────────── Reader ◀── one SQLite file ◀───── commit ──────┘

- `commands`    the lists that travel: ``[name, argument…]`` of text, numbers, bytes and lists of them.
- `rows`        the two kinds of rows as they are read, and which of several runs' writes count.
- `reader`      the reads of a worker, by name.
- `sqlite`      the tables: every statement, in SQLite's SQL.

**Who owns a row.** An operation does not say which run sends it; the daemon knows that from the connection
and passes it to `changes.apply`. A run never overwrites what another has stored:

- A checkpoint belongs to the run that put it first. The same run may put it again, another is refused
  (`Conflict`).
- Writes have the run in their key. Within a run a stored regular write stays (langgraph repeats them), a
  special one (negative index: error, interrupt, resume) is replaced.
- On reading, a task's regular writes are those of the run that wrote the task last, as a whole: a run that
  went back to an old checkpoint and executed a task anew may have written less than the run before, and a
  mixture of the two was never anybody's result. Special writes count one by one, the newest each.
- The walk back along a delta channel's history takes at each ancestor the writes that the run of the *next*
  checkpoint on the path has seen, not what a later run left there.

So rollback is "delete the rows of this run" (`changes.run_delete`), and the older rows are there again.

**Copies** of a thread keep their runs apart under other names (``copy:`` before the run's id), for the rules
above still need them, and so that deleting a run does not reach into the copy.

**What fails.** `changes.apply` raises `errors.Conflict` or `errors.Rejected` without having changed anything
that the caller would not take back; the channel reports it as refused, and the run fails at its next saver
call.

**Formats** of both tables. 1: the serialiser's output in one piece, for what is very small or does not become
smaller, and for what older versions have stored. 3: the same compressed (`blobs.codec`), for what has a
kilobyte at most; nothing else is written for small states. 2: a manifest of blobs (`gatewayd.blobs`) that
make up the serialiser's output byte by byte. It is cut along the MessagePack encoding, so whole messages are
the pieces, the same ones in a write, in the channel's list, in every later checkpoint and in copies of the
thread. A long text in a message is stored apart, once for the input, the message and the JSON that readers of
the thread get. What is not MessagePack (pickle, an encrypting serialiser) is one piece.

With a key in the environment the worker seals what it stores. Format 1: as langgraph's `EncryptedSerializer`
does it, ``+aes`` behind the type. Format 3: the same, around what was compressed before. Format 2: manifest
and blobs are sealed (`gatewayd.blobs`), and the type is that of the joined value.

**Metadata** of a checkpoint are compressed too, by the worker. They are not sealed. Statements that look into
them call SQL functions (`statements.prepare`), which the writer's connection and those of workers have.

The saver serialises the whole state at every step, as every saver does, and hashes its pieces (4,000
messages: some ten milliseconds of the worker): a node may have changed any of them in place, and there is no
way to know but to look. What it need not do is compress, send and store them again.

- `split`    where an encoding may be cut, and where long texts stand in it.
- `pieces`   between serialised values and the columns of a row.
- `conversion`  rows of format 1 that are larger than that, turned into format 2 in the background.
"""
