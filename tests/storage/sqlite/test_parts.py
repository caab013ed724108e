"""
Whole states in parts: read as they were, freed when nothing has them, never stored without their pieces.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatewayd import wire
from gatewayd.blobs import cut, texts
from gatewayd.blobs.sqlite import tables
from gatewayd.model.event import Chunk, Draft, pack
from gatewayd.model.run import RunOutcome
from gatewayd.model.state import Parts
from gatewayd.storage.sqlite import blobs, events, operations, runs, states, threads
from gatewayd.storage.sqlite.store import SqliteStore


def said(number: int) -> bytes:
    """Return an element; every other one has a long text."""
    return wire.dumps({"text": random.Random(number).randbytes(150 + number % 2 * 150).hex(), "n": number})


def conversation(length: int, seed: int = 0) -> tuple[list[cut.Piece], bytes]:
    """Return a state in pieces and as JSON."""
    said_ = [said(seed + number) for number in range(length)]
    elements = [said_[0], *(b"," + one for one in said_[1:])]
    return [b'{"messages":[', elements, b"]}"], b'{"messages":[' + b",".join(said_) + b"]}"


def sliced(length: int, seed: int = 0) -> tuple[Parts, list[Any], bytes]:
    """Return a state in parts, the blobs that it needs, and its JSON."""
    pieces, data = conversation(length, seed)
    cutter = cut.Cutter(find=texts.in_json)
    manifest = cutter.manifest(pieces)
    return Parts(manifest, len(data)), [tuple(blob) for blob in cutter.blobs.values()], data


def finished(desk: Any, thread_id: str, length: int, seed: int = 0, **changes: Any) -> str:
    """Have a run end on a thread, with an event, values and a result in parts."""
    run_id: str = desk.create(thread_id, claim=True)
    assert desk.run(run_id).status == "running"
    parts, needed, _ = sliced(length, seed)
    emit(desk, thread_id, run_id, parts, needed)
    outcome = {"values": parts, "result": parts, **changes}
    assert desk.finish(run_id, **outcome)
    return run_id


def emit(desk: Any, thread_id: str, run_id: str, parts: Parts, needed: Any) -> None:
    packed = pack([("values", "", 3, 0)])
    events.append(desk.connection, Draft(thread_id, run_id, 1, desk.now // 1000, packed, [parts], needed))


def swept(desk: Any) -> None:
    """Sweep all families as far as that is possible."""
    after = 0
    while begun := blobs.blobs_sweep_begin(desk.connection, after):
        while not blobs.blobs_sweep_step(desk.connection, begun):
            begun.unsettled = False
        after = begun.family_id


def count(desk: Any, table: str = "blobs") -> int:
    return int(desk.fetch(f"SELECT count(*) FROM {table}")[0][0])


def test_a_sweep_whose_step_was_taken_back_with_its_transaction_is_given_up(desk: Any) -> None:
    thread_id = desk.thread()
    emit(desk, thread_id, desk.create(thread_id, claim=True), *sliced(9)[:2])
    for table in ("events", "thread_locks"):
        desk.connection.execute(f"DELETE FROM {table}")
    tables.mark(desk.connection, thread_id)
    stored = count(desk)
    begun = blobs.blobs_sweep_begin(desk.connection, 0)
    desk.connection.execute("BEGIN")
    assert blobs.blobs_sweep_step(desk.connection, begun)
    assert begun.removed == stored > 0
    desk.connection.execute("ROLLBACK")
    assert blobs.blobs_sweep_step(desk.connection, begun)
    assert count(desk) == stored
    swept(desk)
    assert count(desk) == 0


def shown(desk: Any, thread_id: str) -> bytes | None:
    found = threads.thread_shown(desk.connection, thread_id)
    assert found is not None
    assert found.values is None or isinstance(found.values, bytes)
    return found.values


def removed(desk: Any, thread_id: str) -> None:
    threads.thread_delete(desk.connection, thread_id, desk.tick())
    while not threads.thread_sweep_step(desk.connection, thread_id, 100):
        pass


async def test_what_has_come_by_with_its_texts_is_not_read_from_storage(
    storage: SqliteStore, desk: Any
) -> None:
    thread_id = desk.thread()
    parts, needed, data = sliced(7)  # no segment: every element is asked for by itself
    storage.states.take(Chunk(thread_id, "run", 1, 1, 1, b"", [parts], needed))
    assert await storage.state_joined(thread_id, parts) == data
    # Nor what has a text that came before: a run does not send it again.
    again = [b"[" + said(1) + b"," + said(1) + b"]"]
    cutter = cut.Cutter({blob[0] for blob in needed}, find=texts.in_json)
    later = Parts(cutter.manifest([again]), len(again[0]))
    assert [blob.kind for blob in cutter.blobs.values()] == [cut.COMPOUND]
    storage.states.take(Chunk(thread_id, "run", 2, 2, 2, b"", [later], list(cutter.blobs.values())))
    assert await storage.state_joined(thread_id, later) == again[0]
    assert storage.states.reads == 0


async def test_what_has_come_by_without_a_text_is_read_from_storage(storage: SqliteStore, desk: Any) -> None:
    thread_id = desk.thread()
    run_id = finished(desk, thread_id, 7)
    parts, needed, data = sliced(7)
    compound = next(blob for blob in needed if blob[1] == cut.COMPOUND)
    some = [blob for blob in needed if blob[0] not in cut.references(compound[2])]
    storage.states.take(Chunk(thread_id, run_id, 1, 1, 1, b"", [parts], some))
    assert await storage.state_joined(thread_id, parts) == data
    assert storage.states.reads == 1


async def test_closing_waits_for_a_state_that_is_being_joined(storage: SqliteStore, desk: Any) -> None:
    thread_id = desk.thread()
    finished(desk, thread_id, 7)
    parts, _, data = sliced(7)
    scanner, begun, gate = storage.states.scanner, asyncio.Event(), asyncio.Event()

    class SlowReader:
        async def read(self, *args: Any) -> Any:
            begun.set()
            await gate.wait()
            return await scanner.read(*args)

    storage.states.scanner = SlowReader()  # type: ignore[assignment]
    joining = asyncio.ensure_future(storage.state_joined(thread_id, parts))
    await begun.wait()
    closing = asyncio.ensure_future(storage.close(0))
    await asyncio.wait({closing}, timeout=0.05)
    assert not closing.done()
    gate.set()
    await closing
    assert await joining == data


def test_what_a_thread_had_goes_with_it(desk: Any) -> None:
    thread_id = desk.thread()
    for length in (20, 22, 24):
        finished(desk, thread_id, length)
    assert count(desk)
    removed(desk, thread_id)
    swept(desk)
    assert [count(desk, table) for table in ("blobs", "families", "thread_families")] == [0, 0, 0]


def test_what_only_old_events_had_goes_when_they_are_pruned(desk: Any) -> None:
    thread_id = desk.thread()
    run_id = desk.create(thread_id, claim=True)
    emit(desk, thread_id, run_id, *sliced(40, seed=100)[:2])
    desk.finish(run_id)
    finished(desk, thread_id, 10)
    before = count(desk)
    swept(desk)
    assert count(desk) == before
    while not events.prune_step(desk.connection, thread_id, desk.tick() + 10**9, 1):
        pass
    swept(desk)
    assert count(desk) < before - 40
    assert shown(desk, thread_id) == sliced(10)[2]


def test_what_only_deleted_or_undone_runs_had_goes(desk: Any) -> None:
    thread_id = desk.thread()
    finished(desk, thread_id, 10)
    kept = count(desk)
    run_id = desk.create(thread_id, claim=True)
    parts, needed, _ = sliced(30, seed=300)
    assert desk.finish(run_id, result=parts, blobs=needed)
    assert runs.run_delete(desk.connection, thread_id, run_id, desk.tick())
    swept(desk)
    assert count(desk) == kept
    undone = desk.create(thread_id, claim=True)
    desk.cancel(undone, "rollback")
    assert desk.finish(undone, "interrupted", rollback=True, result=parts, blobs=needed)
    swept(desk)
    assert count(desk) == kept


def garbage(desk: Any) -> int:
    return int(desk.fetch("SELECT coalesce(sum(garbage), 0) FROM families")[0][0])


def test_values_that_are_replaced_are_looked_for_only_if_nothing_else_has_them(desk: Any) -> None:
    thread_id = desk.thread()
    first = finished(desk, thread_id, 10)
    finished(desk, thread_id, 12)
    assert garbage(desk) == 0, "the first run's result keeps them: a sweep would free nothing"
    finished(desk, thread_id, 9, seed=200)
    runs.run_delete(desk.connection, thread_id, first, desk.tick())
    swept(desk)
    assert garbage(desk) == 0
    parts, needed, _ = sliced(20, seed=400)
    updated(desk, thread_id, parts, needed)
    finished(desk, thread_id, 9, seed=200)
    assert garbage(desk) == 1, "nothing but the thread had what the update left"
    swept(desk)
    assert not [
        one for one in cut.references(parts.manifest) if desk.fetch("SELECT 1 FROM blobs WHERE hash = ?", one)
    ]


def updated(desk: Any, thread_id: str, parts: Parts, needed: Any) -> None:
    desk.connection.execute("INSERT INTO thread_locks VALUES (?, 'op', 'operation', 1)", (thread_id,))
    told = desk.draft(thread_id, "", [("state_update", "", 2, b"{}")])
    outcome = RunOutcome(status="success", values=parts, blobs=needed)
    operations.state_update_if_held(desk.connection, thread_id, "op", [], outcome, told, desk.tick())


def copied(desk: Any, source: str) -> str:
    target = desk.thread()
    threads.thread_delete(desk.connection, target, desk.tick())
    for each in (source, target):
        desk.connection.execute("INSERT INTO thread_locks VALUES (?, 'op', 'operation', 1)", (each,))
    position = None
    while position := operations.thread_copy_step(desk.connection, source, target, "op", position):
        pass
    operations.thread_copy_end(desk.connection, source, target, "op", desk.tick())
    return str(target)


def test_a_copy_has_the_values_and_not_their_bytes(desk: Any) -> None:
    source = desk.thread()
    finished(desk, source, 50)
    before = count(desk)
    target = copied(desk, source)
    assert count(desk) == before
    removed(desk, source)
    swept(desk)
    assert shown(desk, target) == sliced(50)[2]
    removed(desk, target)
    swept(desk)
    assert count(desk) == 0


def test_a_page_of_events_is_measured_by_its_states_joined(desk: Any) -> None:
    thread_id = desk.thread()
    run_id = desk.create(thread_id, claim=True)
    for length in range(300, 310):
        emit(desk, thread_id, run_id, *sliced(length)[:2])
    names = {"thread_id": thread_id, "run_id": run_id, "after": 0, "bytes": 400_000, "chunks": 200}
    page = [events.chunk(row) for row in desk.connection.execute(events.PAGE, names)]
    assert len(page) == 400_000 // page[0].size < 10
    assert page[0].weight < 2000
    parts, needed, _ = sliced(300)
    bodies = sum(len(body) for _, _, body in needed)
    on_the_way = Draft(thread_id, run_id, 1, 1, pack([("values", "", 3, 0)]), [parts], needed)
    assert on_the_way.weight > bodies, "the writer's backlog counts what waits for it"


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["turn", "turn", "turn", "delete run", "update", "prune", "copy", "remove", "sweep"]),
        st.integers(0, 5),
        st.integers(1, 30),
    ),
    max_size=25,
)


def read_all(desk: Any, thread_id: str) -> None:
    for run_id in desk.runs(thread_id):
        result = desk.run(run_id).result
        assert isinstance(result, Parts)
        assert states.joined(desk.connection, thread_id, result)
    for row in desk.fetch(f"SELECT {events.COLUMNS} FROM events WHERE thread_id = ?", thread_id):
        for parts in events.chunk(row).parts:
            assert states.joined(desk.connection, thread_id, parts)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS)
def test_no_sequence_loses_a_piece_or_leaves_garbage(desk: Any, steps: list[tuple[str, int, int]]) -> None:
    wanted: dict[str, bytes | None] = {desk.thread(): None}
    for what, number, length in steps:
        thread_id = list(wanted)[number % len(wanted)]
        seed = number * 10
        match what:
            case "turn":
                finished(desk, thread_id, length, seed)
                wanted[thread_id] = sliced(length, seed)[2]
            case "delete run" if mine := list(desk.runs(thread_id)):
                runs.run_delete(desk.connection, thread_id, mine[number % len(mine)], desk.tick())
            case "update":
                parts, needed, data = sliced(length, seed)
                updated(desk, thread_id, parts, needed)
                wanted[thread_id] = data
            case "prune":
                while not events.prune_step(desk.connection, thread_id, desk.tick() + 10**9, 2):
                    pass
            case "copy" if len(wanted) < 5:
                wanted[copied(desk, thread_id)] = wanted[thread_id]
            case "remove" if len(wanted) > 1:
                removed(desk, thread_id)
                del wanted[thread_id]
            case "sweep":
                swept(desk)
        assert {each: shown(desk, each) for each in wanted} == wanted
    swept(desk)
    assert {each: shown(desk, each) for each in wanted} == wanted
    for thread_id in wanted:
        read_all(desk, thread_id)
        removed(desk, thread_id)
    swept(desk)
    assert [count(desk, table) for table in ("blobs", "families", "thread_families")] == [0, 0, 0]


def test_the_kwargs_of_runs_are_compressed_and_read_as_they_were(desk: Any) -> None:
    thread_id = desk.thread()
    kwargs = {"input": {"text": "word " * 1000}, "command": None}
    large = desk.create(thread_id, kwargs=kwargs)
    small = desk.create(thread_id)
    assert desk.run(large).kwargs["input"] == kwargs["input"]
    rows = desk.fetch("SELECT kwargs, length(kwargs_packed) FROM runs ORDER BY rowid")
    assert [row[0] for row in rows] == ["{}", "{}"]
    assert rows[1][1] < rows[0][1] < 1000
    assert desk.run(small).kwargs["input"] == {}
