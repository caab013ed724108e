"""
Whole states in parts: read as they were, freed when nothing has them, never stored without their pieces.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import strategies as st

from gatewayd import wire
from gatewayd.blobs import cut, texts
from gatewayd.errors import NotFound, Rejected
from gatewayd.model.event import Draft, pack
from gatewayd.model.state import Parts
from gatewayd.storage import store


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


def test_a_manifest_is_not_stored_as_if_it_were_json(desk: Any) -> None:
    run_id = desk.create(desk.thread(), claim=True)
    parts, _, _ = sliced(3)
    with pytest.raises(TypeError, match="manifest"):
        desk.finish(run_id, values=parts.manifest)


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
    desk.ask.events_append(Draft(thread_id, run_id, 1, desk.now // 1000, packed, [parts], needed))


def swept(desk: Any) -> None:
    """Sweep all families as far as that is possible."""
    after = 0
    while begun := desk.ask.blobs_sweep_begin(after):
        while not desk.ask.blobs_sweep_step(begun):
            begun.unsettled = False
        after = begun.family_id


def count(desk: Any, table: str = "blobs") -> int:
    return int(desk.fetch(f"SELECT count(*) FROM {table}")[0][0])


def shown(desk: Any, thread_id: str) -> bytes | None:
    found = desk.look(thread_id)
    assert found.values is None or isinstance(found.values, bytes)
    return found.values


def test_states_in_parts_are_read_as_they_were(desk: Any) -> None:
    thread_id = desk.thread()
    run_id = finished(desk, thread_id, 90)
    _, _, data = sliced(90)
    run = desk.ask.run_get(thread_id, run_id)
    assert run is not None
    assert isinstance(run.result, Parts)
    assert desk.ask.state_joined(thread_id, run.result) == data
    assert (desk.ask.thread_get(thread_id)).values == data
    assert (desk.ask.thread_patch(thread_id, {"a": 1}, desk.tick())).values == data
    assert (desk.ask.thread_create(thread_id, {}, do_nothing=True, now=desk.tick())).values == data
    assert desk.ask.webhook_values(run) == data
    found = desk.ask.threads_search(store.ThreadSearch(metadata={}, values={}))
    assert [each.values for each in found.threads] == [data]
    found = desk.ask.threads_search(store.ThreadSearch(metadata={}, values={}, values_shown=False))
    assert [each.values for each in found.threads] == [None]
    page = desk.ask.events_page(thread_id, 0)
    records = [record for chunk in page for record in (desk.ask.chunk_joined(chunk)).records]
    assert [(record.kind, record.data) for record in records] == [("values", data), ("end", b"{}")]
    # What costs a reader nothing to leave out is left out.
    left = [desk.ask.chunk_joined(chunk, {"end"}) for chunk in page]
    assert [record.kind for chunk in left for record in chunk.records] == ["end"]
    with pytest.raises(RuntimeError):
        _ = page[0].records


def test_a_result_outlives_its_run_in_webhooks_as_the_threads_values(desk: Any) -> None:
    thread_id = desk.thread()
    run = desk.run(finished(desk, thread_id, 20))
    desk.delete(thread_id, run.run_id)
    swept(desk)
    assert desk.ask.webhook_values(run) == sliced(20)[2]


def test_searches_by_values_find_them_in_parts(desk: Any) -> None:
    in_parts, inline, other = desk.thread(), desk.thread(), desk.thread()
    finished(desk, in_parts, 9)
    finished(desk, other, 9, seed=5)
    data = sliced(9)[2]
    finished(desk, inline, 3, values=data, result=data)
    wanted = {"messages": wire.loads(data)["messages"]}
    found = desk.ask.threads_search(store.ThreadSearch(metadata={}, values=wanted))
    assert {each.thread_id for each in found.threads} == {in_parts, inline}
    found = desk.ask.threads_search(store.ThreadSearch(metadata={}, values={"messages": ["none"]}))
    assert found.threads == []


def test_nothing_is_stored_without_its_pieces(desk: Any) -> None:
    thread_id = desk.thread()
    run_id = desk.create(thread_id, claim=True)
    parts, needed, data = sliced(30)
    attempts = (
        lambda some: emit(desk, thread_id, run_id, parts, some),
        lambda some: desk.finish(run_id, values=parts, blobs=some),
        lambda some: desk.finish(run_id, result=parts, blobs=some),
    )
    for some in ((), needed[:-1], needed[1:]):
        for attempt in attempts:
            with pytest.raises(Rejected):
                attempt(some)
    assert desk.run(run_id).status == "running"
    assert desk.finish(run_id, values=parts, blobs=needed)
    assert shown(desk, thread_id) == data


def test_pieces_sent_ahead_are_stored_for_a_running_run_only(desk: Any) -> None:
    thread_id = desk.thread()
    run_id = desk.create(thread_id, claim=True)
    parts, needed, data = sliced(30)
    desk.ask.parts_store_if_running(thread_id, run_id, needed[:20], 1)
    assert desk.finish(run_id, values=parts, blobs=needed[20:])
    swept(desk)
    assert shown(desk, thread_id) == data
    with pytest.raises(NotFound):
        desk.ask.parts_store_if_running(thread_id, run_id, needed, 1)


def garbage(desk: Any) -> int:
    return int(desk.fetch("SELECT coalesce(sum(garbage), 0) FROM families")[0][0])


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["turn", "turn", "turn", "delete run", "update", "prune", "copy", "remove", "sweep"]),
        st.integers(0, 5),
        st.integers(1, 30),
    ),
    max_size=25,
)
