"""How long events are kept: a thread's log goes from its beginning, and everybody can tell what is gone."""

from __future__ import annotations

import random
from typing import Any

import pytest

from gatewayd.storage import store


def told(desk: Any, thread_id: str, *, steps: int = 1) -> str:
    """Execute a run of so many events; return it."""
    run_id = desk.create(thread_id, claim=True)
    for _ in range(steps):
        desk.emit(thread_id, run_id)
    desk.finish(run_id)
    return str(run_id)


def pruned(desk: Any, thread_id: str, before: int | None = None, rows: int = 100) -> int:
    """Remove what may go; return the number of steps that it took."""
    desk.tick()
    steps = 1
    while not desk.ask.thread_events_prune_step(thread_id, desk.now if before is None else before, rows):
        steps += 1
    return steps


def kept(desk: Any, thread_id: str) -> list[int]:
    return [chunk.last_seq for chunk in desk.events(thread_id)]


def notes(desk: Any, thread_id: str) -> tuple[int, int | None]:
    """Return up to where the thread's log is gone, and since when there may be something to remove."""
    since = {name: at for at, name in desk.ask.threads_to_prune(2 * desk.now, (0, ""), 100)}
    return desk.ask.events_gap(thread_id, 0) or 0, since.get(thread_id)


def losses(desk: Any, thread_id: str) -> list[str]:
    lost = (run_id for run_id in desk.runs(thread_id) if desk.ask.run_events_gap(thread_id, run_id, 0))
    return sorted(lost)


def test_events_of_old_runs_go_and_the_newest_stays_so_that_numbering_goes_on(desk: Any) -> None:
    thread_id = desk.thread()
    first, second = told(desk, thread_id, steps=2), told(desk, thread_id)
    assert kept(desk, thread_id) == [1, 2, 3, 4, 5]
    assert notes(desk, thread_id) == (0, desk.run(first).ended_at)
    pruned(desk, thread_id, before=desk.run(second).ended_at)
    assert kept(desk, thread_id) == [4, 5]
    assert notes(desk, thread_id) == (3, desk.run(second).ended_at)
    assert losses(desk, thread_id) == [first]
    pruned(desk, thread_id)
    assert kept(desk, thread_id) == [5]
    assert desk.ask.events_last(thread_id)[0] == 5
    assert notes(desk, thread_id) == (4, None)
    assert losses(desk, thread_id) == [first, second]
    third = told(desk, thread_id)
    assert notes(desk, thread_id) == (4, desk.run(third).ended_at)


def test_events_of_a_run_that_is_under_way_stay_and_all_behind_them(desk: Any) -> None:
    thread_id = desk.thread()
    told(desk, thread_id)
    run_id = desk.create(thread_id, claim=True)
    desk.emit(thread_id, run_id)
    waiting = desk.create(thread_id)
    desk.cancel(waiting)
    desk.finish(waiting, "interrupted", quiet=True)
    desk.emit(thread_id, run_id)
    pruned(desk, thread_id)
    assert kept(desk, thread_id) == [3, 4, 5]
    assert notes(desk, thread_id) == (2, None)
    desk.finish(run_id)
    assert notes(desk, thread_id) == (2, desk.run(run_id).ended_at)
    pruned(desk, thread_id)
    assert kept(desk, thread_id) == [6]


def test_a_long_run_keeps_its_first_events_until_its_end_is_old(desk: Any) -> None:
    thread_id = desk.thread()
    run_id = desk.create(thread_id, claim=True)
    desk.emit(thread_id, run_id)
    middle = desk.tick()
    desk.emit(thread_id, run_id)
    desk.finish(run_id)
    pruned(desk, thread_id, before=middle)
    assert kept(desk, thread_id) == [1, 2, 3]
    assert losses(desk, thread_id) == []
    assert notes(desk, thread_id) == (0, desk.run(run_id).ended_at)


def test_events_of_runs_that_are_gone_and_of_no_run_go_by_their_own_age(desk: Any) -> None:
    thread_id = desk.thread()
    run_id = desk.create(thread_id, claim=True)
    desk.emit(thread_id, run_id)
    desk.finish(run_id, "interrupted", rollback=True)
    deleted = told(desk, thread_id)
    desk.delete(thread_id, deleted)
    assert notes(desk, thread_id)[1] is not None
    pruned(desk, thread_id)
    assert kept(desk, thread_id) == [4]
    other = desk.thread()
    desk.emit(other, "")
    assert notes(desk, other) == (0, desk.now // 1000 * 1000)
    desk.tick()
    desk.emit(other, "")
    pruned(desk, other, before=notes(desk, other)[1] + 1)
    assert kept(desk, other) == [2]


@pytest.mark.parametrize("seed", range(20))
def test_what_is_kept_is_always_a_tail_with_all_that_must_be_kept(desk: Any, seed: int) -> None:
    dice, thread_id = random.Random(seed), desk.thread()
    under_way: list[str] = []
    for _ in range(40):
        match dice.randrange(5):
            case 0:
                under_way.append(desk.create(thread_id, claim=True))
            case 1 | 2 if under_way:
                desk.emit(thread_id, dice.choice(under_way))
            case 3 if under_way:
                desk.finish(under_way.pop(dice.randrange(len(under_way))), rollback=dice.random() < 0.2)
            case _:
                desk.emit(thread_id, "")
        desk.tick()
    everything = [(chunk.last_seq, chunk.time_ms, chunk.run_id) for chunk in desk.events(thread_id)]
    before = desk.now - dice.randrange(60) * 1000
    pruned(desk, thread_id, before=before, rows=dice.randrange(1, 10))
    left = kept(desk, thread_id)
    assert left == [seq for seq, _, _ in everything][-len(left) :]
    ends = {run.run_id: run.ended_at for run in desk.ask.runs_search(store.RunSearch(limit=100))}
    may_go = [
        (ends[run_id] is not None and ends[run_id] < before) if run_id in ends else time_ms * 1000 < before
        for _, time_ms, run_id in everything[:-1]
    ]
    expected = may_go.index(False) if False in may_go else len(may_go)
    assert len(everything) - len(left) == expected
    since = notes(desk, thread_id)[1]
    assert since is None or since >= before


def test_readers_are_told_of_what_they_have_lost_and_of_nothing_else(desk: Any) -> None:
    thread_id = desk.thread()
    first, second = told(desk, thread_id, steps=3), told(desk, thread_id, steps=3)
    third = desk.create(thread_id)  # its place in the queue is behind events that go
    assert desk.ask.events_gap(thread_id, 0) is None
    assert desk.ask.run_events_gap(thread_id, first, 0) is None
    pruned(desk, thread_id, before=desk.run(second).ended_at)
    assert desk.ask.events_gap(thread_id, 0) == 4
    assert desk.ask.events_gap(thread_id, 3) == 4
    assert desk.ask.events_gap(thread_id, 4) is None
    assert desk.ask.run_events_gap(thread_id, first, 2) == (4, 1)
    assert desk.ask.run_events_gap(thread_id, first, 4) is None
    assert desk.ask.run_events_gap(thread_id, second, 0) is None
    assert desk.ask.run_events_gap(thread_id, third, 0) is None
    pruned(desk, thread_id)
    assert desk.ask.run_events_gap(thread_id, first, 2) == (4, 1)
    assert desk.ask.run_events_gap(thread_id, second, 5) == (7, 1)


def test_threads_with_old_events_are_found_in_pages_in_the_order_of_age(desk: Any) -> None:
    expected = []
    for _ in range(5):
        thread_id = desk.thread()
        run_id = told(desk, thread_id)
        expected.append((desk.run(run_id).ended_at, thread_id))
    young = desk.tick()
    told(desk, desk.thread())
    found, behind = [], (0, "")
    while page := desk.ask.threads_to_prune(young, behind, 2):
        found += page
        behind = page[-1]
    assert found == expected


def test_the_beginning_of_a_thread_is_that_of_its_latest_runs(desk: Any) -> None:
    thread_id = desk.thread()
    assert desk.ask.events_replay_start(thread_id, 0) is None
    told(desk, thread_id)
    young = desk.tick()
    assert desk.ask.events_replay_start(thread_id, young) is None
    assert desk.ask.events_replay_start(thread_id, 0) == 1
    told(desk, thread_id)
    assert desk.ask.events_replay_start(thread_id, young) == 3
    old = desk.tick()
    run_id = desk.create(thread_id, claim=True)
    assert desk.ask.events_replay_start(thread_id, old) is None
    desk.emit(thread_id, run_id)
    assert desk.ask.events_replay_start(thread_id, old) == 5
    other = desk.thread()
    desk.emit(other, "")
    young = desk.tick()
    desk.emit(other, "")  # an update of the state
    assert desk.ask.events_replay_start(other, young) == 2


def test_to_the_latest_runs_belongs_the_one_whose_questions_wait(desk: Any) -> None:
    thread_id = desk.thread()
    told(desk, thread_id)
    run_id = desk.create(thread_id, claim=True)
    desk.emit(thread_id, run_id)
    desk.finish(run_id, values=b"{}", next=["ask"], interrupts={"task": [{"id": "1", "value": 1}]})
    desk.finish(desk.create(thread_id), "interrupted", quiet=True)  # cancelled before it began
    old = desk.tick()
    assert desk.ask.events_replay_start(thread_id, old) == 3
    answering = desk.create(thread_id, claim=True)
    desk.finish(answering, values=b"{}", next=[], interrupts={})
    assert desk.ask.events_replay_start(thread_id, desk.tick()) is None
