"""Large values in pieces: each piece is stored once, by its content, and a value is a short manifest of
pieces.

What grows at its end (a conversation) costs what was added to it, however long it is. Nothing here knows what
the bytes mean: no serialiser, no langgraph, no connection of our own. Whoever stores values says where they
may be cut.

    sender (worker)                                   storage (the writer's transaction)
    pieces ─ cut.Cutter ─▶ manifest + new blobs ────▶ tables.store(blobs), then the row with the manifest
    bytes  ◀─ join.Joiner ◀─ manifest ◀── row         sweep: what no manifest reaches goes

- `cut`    pieces → manifest and blobs, and what a sender may leave out because storage has it.
- `texts`  long texts inside of pieces, and their form in JSON.
- `codec`  compressing the bodies of both, and small bodies in other tables (a checkpoint's metadata, events,
  kwargs of runs).
- `dictionary` what such bodies have in common.
- `seal`   encrypting the bodies of both.
- `join`   manifest → bytes, with few queries for many manifests.
- `sqlite` the tables: storing, reading, adopting, marking, and the sweep that frees what nothing refers to.
- `cache`  what was joined lately, for readers.

Manifests are in checkpoints and writes (`checkpointing`), and in events, threads' values and runs' results
(`model.state`); `storage.sqlite.blobs` has the list that the sweep goes through.

**A value** is a concatenation of *pieces*: ``bytes``, which stay in the manifest (brackets, keys, what
changes each time), or a list of ``bytes``: the elements of what grows at its end, or a single one that is
worth to be kept by itself. So a format that can be cut into slices can be stored (MessagePack: slices of the
encoding; JSON: an element with the comma before it), and joining is concatenation, which gives the very bytes
back.

**A manifest** is ``[hashes, kind, body]`` in MessagePack: the blobs it refers to, in order and in the clear
(so that the sweep needs neither codec nor key), and a body that says what stands between them: bytes as they
are, or a number n: the next n blobs. The last short elements of a list, which have no blob yet, stand in the
body, too.

**A list** is a tree: every `cut.FANOUT` blobs make a segment (the hashes of its children), every `cut.FANOUT`
segments one of the next level, and the manifest has the hashes that don't make up a whole segment yet, on
each level. Full segments never change when the list grows. So one more element is one more blob, sometimes a
segment or two; the manifest of n elements has at most (FANOUT - 1) · log n hashes of 16 bytes (4,000
messages: at most 448 bytes). Short elements share a blob, from the front on, as it fills up.

**Long texts.** What somebody has said is in several elements: in the input as it came, in the message made of
it, in the message as JSON. So an element with a text of `texts.MINIMUM` bytes or more is a *compound*: the
text is a blob of its own, in UTF-8 as it is, and what is left of the element (some 200 bytes of a message)
refers to it. A compound's body is built like a manifest: ``[hashes of texts, kind, body]``, and in the body
stand bytes, `cut.AS_IT_IS` for the next text, and `cut.ESCAPED` for the next text as it stands in JSON (a
newline as backslash and n). Whether that gives the very bytes is tried when it is cut; what does not stays in
the element. Where texts are only the sender knows, who gives the cutter a function that finds them; it is
called only for elements that storage has not got. What it takes for a text and is none may be stored apart
just as well. A text is never cut itself, so below a compound there is one level and no more. It is fetched
with its compound (`tables.select`): a state of 4,000 messages takes as many queries as without texts, and a
quarter more time.

**An address** is a BLAKE2b hash of the plain content, 16 bytes, with a key if there is one: two equal pieces
are one blob whatever was done to the stored body (compression, encryption under nonces, texts taken out: a
compound's address is that of the whole element), and with a key the address tells nothing about the content.
Segments, elements and texts are hashed under different names: of equal bytes, each has an address of its own.

**Sealed values.** A cutter with a `seal.Seal` compresses, then encrypts the body of the manifest and those of
the blobs (not of segments: they are hashes, which the sweep must see, and of compounds what stands beside the
hashes), each bound to its hashes; addresses are keyed. A manifest says whether it is sealed, and all that is
below it is as it is: keyed and plain addresses never meet, so values from before and after there was a key
stand beside each other in a family. Whoever gives no seal (the sweep, the copies of threads) works on sealed
values as on others; only a joiner needs it.

**Families.** Blobs belong to a family of threads: a thread and the copies made of it. A hash is unique in its
family. So equal pieces of strangers are stored twice, and in return no counter is kept: what frees blobs
(rollback, prune, delete, a row put anew) only marks the family, and its sweep looks at this family alone.

**Who may leave a blob out.** A sender keeps, for one run, the hashes that it has sent or read (`cut.Known`),
and sends what is not among them; storing one twice does no harm. This can't become wrong, since
- blobs go in the same operation as the manifest that needs them, and operations of a run are stored in order,
  none after one that was refused;
- rows of a thread are removed only under its lock, or when it is gone, and no blob of a family is removed
  while a thread of the family is locked (by a run, from its first start to its end, also across
  processes);
- a run that removes rows itself, or works on threads other than its own, forgets what it knows or never knew
  it;
- a sweep is told by its mark on the family that something was stored meanwhile, and starts again.
And if it were wrong after all, `tables.store` refuses the operation: every hash in a manifest, a new segment
or a new compound is looked up.
"""
