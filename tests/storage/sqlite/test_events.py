"""Pages of the event log: bounded in bytes, whole, in order, of one run or of all."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from gatewayd.model.event import Chunk, pack
from gatewayd.storage import events
from gatewayd.storage.sqlite import events as events_
from gatewayd.storage.sqlite.store import SqliteStore

THREAD, OTHER = "thread", "other"


async def fill(storage: SqliteStore, chunks: list[Chunk]) -> None:
    """Store chunks with the numbers that they have."""
    for chunk in chunks:
        await storage.writer.submit(events_.store, chunk)


def chunk(seq: int, size: int, run_id: str = "run", thread_id: str = THREAD, records: int = 1) -> Chunk:
    packed = pack([("values", "", 1, b"x" * (size // records))] * records)
    return Chunk(thread_id, run_id, seq, seq + records - 1, seq, packed)


async def pages(storage: SqliteStore, run_id: str | None = None, after: int = 0) -> list[list[Chunk]]:
    found = []
    while page := await storage.events_page(THREAD, after, run_id):
        after = page[-1].last_seq
        found.append(page)
    return found


SIZES = {
    "tiny": [100] * 1000,
    "one tiny before large ones": [100] + [200_000] * 40,
    "tiny and large in turn": [100, 300_000, 100, 100, 200_000] * 10,
    "larger than a page": [400_000] * 5,
    "those that are stored in a few bytes": [50_000] * 100,
    "just half a page": [events.EVENT_PAGE_BYTES // 2 - 50] * 10,
}


def token(seq: int) -> Chunk:
    """Return the chunk of a model's token, as a worker sends it."""
    about = (
        b'{"created_by":"system","graph_id":"agent","run_attempt":1,"langgraph_step":13,"langgraph_node":"answer",'
        b'"langgraph_triggers":["branch:to:answer"],"langgraph_path":["__pregel_pull","answer"],"ls_model_type":"chat"}'
    )
    data = (
        b'[{"content":"word","additional_kwargs":{},"response_metadata":{},"type":"AIMessageChunk"},%b]'
        % about
    )
    return Chunk(THREAD, "run", seq, seq, seq, pack([("messages", "", 3, data)]))


async def test_tokens_are_stored_in_a_fraction_of_their_bytes_and_read_as_they_were(
    storage: SqliteStore, path: Path
) -> None:
    sent = [token(seq) for seq in range(1, 51)]
    await fill(storage, sent)
    (found,) = await pages(storage)
    assert [one.packed for one in found] == [one.packed for one in sent]
    assert [one.records for one in found] == [one.records for one in sent]
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (stored,) = connection.execute("SELECT sum(length(records)) FROM events").fetchone()
        (wrong,) = connection.execute(
            "SELECT count(*) FROM events WHERE length(records) + saved_bytes <> ?", (len(sent[0].packed),)
        ).fetchone()
    assert stored * 4 < sum(len(one.packed) for one in sent)
    assert wrong == 0
