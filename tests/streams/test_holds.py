"""What is kept back of a run that a command has started, from whom, and how long."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gatewayd import wire
from gatewayd.model import event
from gatewayd.model.event import Chunk
from gatewayd.streams import holds, v2

THREAD, RUN = "thread", "run"
PYTHON, SCRIPT = holds.Client("us", rotates=False), holds.Client("us", rotates=True)
OTHERS = holds.Client("others", rotates=False)
WATCHED = v2.Filter(channels=frozenset({"lifecycle", "input"}))
VALUES = v2.Filter(channels=frozenset({"values", "lifecycle"}))
ALL = v2.Filter(channels=frozenset({"values", "lifecycle", "messages", "input"}))


def chunk(seq: int, kind: str = "values", run_id: str = RUN, namespace: str = "") -> Chunk:
    packed = event.pack([(f"v2/{kind}", namespace, event.V2, wire.dumps({"data": {}}))])
    return Chunk(THREAD, run_id, seq, seq, 0, packed)


STARTED, STATE, ENDED = chunk(1, "lifecycle=running"), chunk(2), chunk(3, "lifecycle=completed")
WHOLE = [STARTED, STATE, ENDED]
OPENED: list[Any] = []
"""Contexts of streams: one that nobody keeps is left."""


@pytest.fixture
async def kept() -> holds.Holds:
    return holds.Holds(60.0)


def stream(
    kept: holds.Holds,
    client: holds.Client | None = PYTHON,
    wanted: v2.Filter = VALUES,
    *,
    placed: bool = False,
) -> Any:
    OPENED.append(context := kept.reader(THREAD, client))
    reader = context.__enter__()
    reader.open(wanted, placed=placed)
    return reader


def started(kept: holds.Holds, client: holds.Client | None = PYTHON, run_id: str = RUN) -> None:
    """Have a command make a run and be answered."""
    with kept.command(THREAD, client) as command:
        command.begins(run_id)


async def received(reader: holds.Reader, chunks: list[Chunk]) -> list[Chunk]:
    return [each async for piece in reader.due(list(chunks)) for each in piece]


@pytest.mark.parametrize("client", [None, PYTHON, SCRIPT, OTHERS])
@pytest.mark.parametrize("early", [True, False])
async def test_no_stream_gets_anything_of_a_run_before_its_command_is_answered(
    kept: holds.Holds, client: holds.Client | None, early: bool
) -> None:
    before = stream(kept, client)
    with kept.command(THREAD, None) as command:
        command.begins(RUN)
        reader = before if early else stream(kept, client)
        assert reader.free(WHOLE) == 0
        reading = asyncio.create_task(received(reader, WHOLE))
        await asyncio.sleep(0)
        assert not reading.done()
    assert await reading == WHOLE


async def test_an_answer_that_never_leaves_is_not_waited_for_for_ever(
    kept: holds.Holds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holds, "LONGEST_S", 0.01)
    reader = stream(kept)
    with kept.command(THREAD, None) as command:
        command.begins(RUN)
        assert await received(reader, WHOLE) == WHOLE


@pytest.mark.parametrize("asking", ["state", "new stream", "subscription"])
async def test_an_open_stream_waits_until_the_client_asks_again(kept: holds.Holds, asking: str) -> None:
    reader = stream(kept)
    started(kept)
    reading = asyncio.create_task(received(reader, WHOLE))
    await asyncio.sleep(0)
    kept.asks(THREAD, OTHERS)
    kept.asks("another thread", PYTHON)
    assert reader.free(WHOLE) == 0
    match asking:
        case "state":
            kept.asks(THREAD, PYTHON)
        case "new stream":
            stream(kept, wanted=WATCHED)
        case "subscription":
            reader.widen()
    assert await reading == WHOLE


async def test_an_open_stream_waits_no_longer_than_the_time_allows() -> None:
    kept = holds.Holds(0.01)
    reader = stream(kept)
    started(kept)
    assert reader.free(WHOLE) == 0
    assert await received(reader, WHOLE) == WHOLE


@pytest.mark.parametrize("client", [PYTHON, SCRIPT])
async def test_a_stream_that_a_new_one_replaces_goes_on_waiting(
    kept: holds.Holds, client: holds.Client
) -> None:
    replaced, watcher = stream(kept, client), stream(kept, client, WATCHED)
    started(kept, client)
    stream(kept, client, v2.Filter(channels=frozenset({"values", "lifecycle", "messages"})))
    assert replaced.free(WHOLE) == 0
    assert watcher.free([STARTED, STATE]) == 2


async def test_others_and_browsers_do_not_wait_beyond_the_answer(kept: holds.Holds) -> None:
    others = [stream(kept, None), stream(kept, OTHERS)]
    mine = stream(kept)
    started(kept, None, "of a browser")
    assert [reader.free([chunk(1, run_id="of a browser")]) for reader in (*others, mine)] == [1, 1, 1]
    started(kept)
    assert [reader.free(WHOLE) for reader in (*others, mine)] == [3, 3, 0]


async def test_a_stream_that_is_opened_after_the_command_does_not_wait(kept: holds.Holds) -> None:
    started(kept)
    assert stream(kept).free(WHOLE) == 3


async def test_who_replaces_streams_gets_the_end_of_the_run_last_of_all(kept: holds.Holds) -> None:
    before = stream(kept, SCRIPT, WATCHED)
    started(kept, SCRIPT)
    inner = chunk(4, "lifecycle=completed", namespace="inner:1")
    assert (later := stream(kept, SCRIPT, VALUES)).free([STARTED, STATE, inner, ENDED, STATE]) == 3
    assert stream(kept, SCRIPT, ALL, placed=True).free(WHOLE) == 3
    kept.asks(THREAD, SCRIPT)
    assert before.free(WHOLE) == 0
    assert later.replaced is not None
    assert later.free(WHOLE) == 2


async def test_a_stream_that_is_opened_late_waits_from_then_on() -> None:
    kept = holds.Holds(0.05)
    started(kept, SCRIPT)
    before = stream(kept, SCRIPT)
    assert await received(before, WHOLE) == WHOLE
    later = stream(kept, SCRIPT)
    assert later.free(WHOLE) == 2
    assert await received(later, WHOLE) == WHOLE


async def test_the_end_waits_longer_for_a_client_that_is_slow() -> None:
    kept = holds.Holds(0.05)
    started(kept, SCRIPT)
    hold = kept.of(THREAD, RUN)
    assert hold is not None
    assert hold.answered is not None
    waits = []
    for pace in (0.001, 0.02, 60.0):
        hold.pace = pace
        reader = stream(kept, SCRIPT)
        waits.append((reader._until(hold, ENDED) or 0.0) - reader.opened)
    assert waits == pytest.approx([0.05, 0.2, 0.4])
    hold.pace = None
    stream(kept, OTHERS)
    assert hold.pace is None
    stream(kept, SCRIPT)
    assert hold.pace is not None


async def test_runs_are_kept_back_one_by_one_and_the_order_is_kept(kept: holds.Holds) -> None:
    reader = stream(kept)
    started(kept)
    other = chunk(7, run_id="other")
    assert reader.free([other, STARTED, other]) == 1
    started(kept, PYTHON, "next")
    kept.asks(THREAD, PYTHON)
    assert reader.free([STARTED, chunk(8, run_id="next")]) == 2


async def test_nothing_is_kept_back_beyond_the_answer_when_it_is_switched_off() -> None:
    kept = holds.Holds(0.0)
    reader = stream(kept)
    with kept.command(THREAD, PYTHON) as command:
        command.begins(RUN)
        assert reader.free(WHOLE) == 0
    assert reader.free(WHOLE) == 3


async def test_nothing_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holds, "LONGEST_S", 0.01)
    kept = holds.Holds(0.01)
    with kept.reader(THREAD, PYTHON) as reader:
        reader.open(VALUES, placed=False)
        started(kept)
        await received(reader, WHOLE)
        while kept.any_on(THREAD):  # noqa: ASYNC110  (nothing tells)
            await asyncio.sleep(0)
    assert not kept._readers


INNER = (("inner:1",),)


@pytest.mark.parametrize(
    ("wide", "narrow", "covered"),
    [
        ({}, {}, True),
        ({"channels": {"values", "messages"}}, {}, True),
        ({}, {"channels": {"messages"}}, False),
        ({"channels": {"custom"}}, {"channels": {"custom:x"}}, True),
        ({"channels": {"custom:x"}}, {"channels": {"custom"}}, False),
        ({}, {"namespaces": INNER}, True),
        ({"namespaces": INNER}, {}, False),
        ({"namespaces": ((),), "depth": 1}, {"namespaces": ((),), "depth": 1}, True),
        ({"namespaces": ((),), "depth": 1}, {"namespaces": INNER, "depth": 0}, True),
        ({"namespaces": ((),), "depth": 1}, {"namespaces": INNER, "depth": 1}, False),
        ({"namespaces": ((),), "depth": 1}, {"namespaces": INNER}, False),
        ({"namespaces": ((), ("x",))}, {"namespaces": INNER}, True),
        ({"namespaces": (("inner",),)}, {"namespaces": INNER}, True),
        ({"namespaces": (("other",),)}, {"namespaces": INNER}, False),
    ],
)
def test_a_filter_covers_another_if_it_lets_through_as_much(
    wide: dict[str, Any], narrow: dict[str, Any], covered: bool
) -> None:
    def made(fields: dict[str, Any]) -> v2.Filter:
        return v2.Filter(**{"channels": frozenset({"values"}), **fields})

    wide, narrow = (
        {name: frozenset(each) if name == "channels" else each for name, each in fields.items()}
        for fields in (wide, narrow)
    )
    assert made(wide).covers(made(narrow)) is covered


def test_filters_of_very_many_namespaces_are_not_compared() -> None:
    many = tuple((str(n),) for n in range(101))
    longest = v2.Filter(channels=frozenset({"values"}), namespaces=many)
    assert not longest.covers(longest)
