"""Firing crons: the clock decides when, the table decides what; the clock is played."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from typing import Any

import attrs
import pytest

from gatewayd import loops, tasks, wire
from gatewayd.crons import registry, requests, schedule, ticker
from gatewayd.errors import Invalid, NotFound, Rejected
from gatewayd.model.caller import INTERNAL
from gatewayd.model.cron import Cron, Firing
from gatewayd.storage.sqlite.engine import failures, writing
from gatewayd.storage.sqlite.store import SqliteStore
from tests import making

SECOND = 1_000_000
MINUTE = 60 * SECOND
FIRST = wire.parse_iso("2023-11-14T22:14:00")
"""The first full minute after the engines' start."""


def ticking(engine: Any) -> ticker.Ticker:
    """Return a ticker on the engine's clock; who wants it to run, runs it."""
    return ticker.Ticker(crons=registry.Crons(storage=engine.storage, now=engine.clock), runs=engine.runs)


async def create(made: ticker.Ticker, thread_id: str | None = None, **given: Any) -> Cron:
    wanted = {
        name: given[name]
        for name in ("timezone", "end_time", "enabled", "metadata", "on_run_completed")
        if name in given
    }
    payload = {"assistant_id": "chat", "schedule": "* * * * *"} | given
    return await made.crons.create(
        INTERNAL, "chat", payload["schedule"], thread_id, registry.CronFields(**wanted, payload=payload)
    )


async def update(made: ticker.Ticker, cron: Cron, **given: Any) -> Cron:
    return await made.crons.update(INTERNAL, cron.cron_id, registry.CronFields(**given, payload=given))


async def fired(engine: Any, cron: Cron) -> list[int]:
    """Return the dates for which the cron has fired, as seconds after `FIRST`."""
    rows = await engine.fetch("SELECT due FROM firings WHERE cron_id = ? ORDER BY due", cron.cron_id)
    return [(due - FIRST) // SECOND for (due,) in rows]


async def count_runs(engine: Any) -> int:
    return int((await engine.fetch("SELECT count(*) FROM runs"))[0][0])


async def test_it_waits_until_the_next_date_fires_there_and_waits_until_the_one_after(boots: Any) -> None:
    engine = await boots.start()
    made = ticking(engine)
    cron = await create(made, schedule="* * * * * */20")

    assert cron.next_run_date == FIRST - 20 * SECOND
    assert await made.tick() == pytest.approx((cron.next_run_date - engine.now) / 1e6)
    engine.now = cron.next_run_date - 1
    assert await made.tick() == pytest.approx(1e-6)
    assert await count_runs(engine) == 0
    engine.now += 1
    assert await made.tick() == pytest.approx(20.0)
    assert await count_runs(engine) == 1
    assert await made.tick() == pytest.approx(20.0)
    assert await count_runs(engine) == 1


async def test_a_fired_run_is_given_to_a_worker_like_any_other(boots: Any) -> None:
    engine = await boots.start()
    made = ticking(engine)
    await create(made)
    engine.now = FIRST

    await made.tick()

    ((run_id,),) = await engine.fetch("SELECT run_id FROM firings")
    await engine.worker.started(run_id)


async def test_without_a_free_place_a_fired_run_waits_in_the_table_for_one(boots: Any) -> None:
    engine = await boots.start()
    engine.worker.capacity = 0
    made = ticking(engine)
    await create(made)
    engine.now = FIRST
    await made.tick()
    assert await engine.fetch("SELECT status FROM runs") == [("pending",)]

    engine.worker.capacity = 1
    engine.claim()

    ((run_id,),) = await engine.fetch("SELECT run_id FROM firings")
    await engine.worker.started(run_id)


async def test_without_anything_to_come_it_still_looks_once_in_a_while(boots: Any) -> None:
    engine = await boots.start()
    made = ticking(engine)
    assert await made.tick() == ticker.LONGEST_WAIT_S
    await create(made, schedule="@yearly")
    assert await made.tick() == ticker.LONGEST_WAIT_S


async def test_the_loop_is_woken_by_a_new_cron_and_fires_it_when_its_date_comes(boots: Any) -> None:
    engine = await boots.start()
    made = ticking(engine)
    engine.tasks.spawn(made.run(), "ticker")
    await engine.storage.counters()

    await create(made)
    engine.now = FIRST  # the loop was woken by the creation; it finds the clock there, or is woken again
    made.crons.changed.give()

    await engine.workers.board.until(lambda: bool(engine.worker.runs))


async def test_a_change_that_brings_the_date_nearer_wakes_the_loop(boots: Any) -> None:
    engine = await boots.start()
    made = ticking(engine)
    cron = await create(made, schedule="@yearly")
    made.crons.changed.take()

    await update(made, cron, schedule="* * * * * *")

    assert made.crons.changed.given


# missed dates


async def test_however_many_dates_passed_while_it_was_down_it_fires_once_and_goes_on_from_now(
    boots: Any,
) -> None:
    engine = await boots.start()
    cron = await create(ticking(engine))
    engine.now = FIRST + 10 * MINUTE + 30 * SECOND
    engine = await boots.start()
    made = ticking(engine)

    assert await made.tick() == pytest.approx(30.0)

    assert await fired(engine, cron) == [0]
    engine.now += 30 * SECOND
    await made.tick()
    assert await fired(engine, cron) == [0, 660]
    assert await count_runs(engine) == 2


async def test_a_firing_whose_answer_was_lost_in_a_kill_is_not_repeated_at_the_next_start(
    boots: Any,
) -> None:
    engine = await boots.start()
    made = ticking(engine)
    cron = await create(made)
    engine.now = FIRST
    with engine.writer_held():
        engine.tasks.spawn(made.tick(), "tick")
        while not engine.storage.writer._queue:  # noqa: ASYNC110  its thread is held and tells nothing
            await asyncio.sleep(0)
    engine = await boots.start()  # its writer was flushed: the firing is stored, nobody has heard of it
    assert await count_runs(engine) == 1

    await ticking(engine).tick()

    assert await count_runs(engine) == 1
    assert await fired(engine, cron) == [0]


async def test_a_stop_before_the_firing_leaves_the_date_to_the_next_start(boots: Any) -> None:
    engine = await boots.start()
    made = ticking(engine)
    cron = await create(made)
    engine.now = FIRST
    await engine.runs.stop(1.0)
    await made.tick()
    assert await fired(engine, cron) == []

    engine = await boots.start()
    await ticking(engine).tick()

    assert await fired(engine, cron) == [0]


# a clock that is set


async def test_a_clock_that_is_set_back_fires_no_date_twice(boots: Any) -> None:
    engine = await boots.start()
    made = ticking(engine)
    cron = await create(made)
    for minute in range(3):
        engine.now = FIRST + minute * MINUTE
        await made.tick()
    engine.now = FIRST - 30 * SECOND

    assert await made.tick() == ticker.LONGEST_WAIT_S
    for second in range(0, 240, 10):
        engine.now = FIRST + second * SECOND
        await made.tick()

    assert await fired(engine, cron) == [0, 60, 120, 180]
    assert await count_runs(engine) == 4


async def test_a_clock_that_is_set_back_fires_none_twice_even_if_the_cron_is_changed_then(
    boots: Any,
) -> None:
    engine = await boots.start()
    made = ticking(engine)
    cron = await create(made)
    for minute in range(3):
        engine.now = FIRST + minute * MINUTE
        await made.tick()
    engine.now = FIRST - 30 * SECOND
    await update(made, cron, schedule="* * * * * 0,30")

    for second in range(0, 160, 10):
        engine.now = FIRST + second * SECOND
        await made.tick()

    assert await fired(engine, cron) == [0, 60, 120, 150]
    assert await count_runs(engine) == 4


async def test_a_clock_that_is_set_forward_fires_once(boots: Any) -> None:
    engine = await boots.start()
    made = ticking(engine)
    await create(made)
    engine.now = FIRST + 1000 * MINUTE

    await made.tick()

    assert await count_runs(engine) == 1


# the end


async def test_it_fires_at_its_end_time_and_is_disabled_then(boots: Any) -> None:
    engine = await boots.start()
    made = ticking(engine)
    cron = await create(made, end_time=FIRST + MINUTE)
    for minute in range(4):
        engine.now = FIRST + minute * MINUTE + 3000  # the loop is always a little late
        await made.tick()

    assert await fired(engine, cron) == [0, 60]
    ended = await made.crons.get(INTERNAL, cron.cron_id)
    assert (ended.enabled, ended.next_run_date) == (False, None)


async def test_a_date_that_was_missed_is_not_caught_up_with_after_the_end(boots: Any) -> None:
    engine = await boots.start()
    cron = await create(ticking(engine), end_time=FIRST + MINUTE)
    engine.now = FIRST + 30 * MINUTE
    engine = await boots.start()
    made = ticking(engine)

    await made.tick()

    assert await count_runs(engine) == 0
    assert not (await made.crons.get(INTERNAL, cron.cron_id)).enabled


async def test_a_cron_that_would_never_fire_is_not_stored(boots: Any) -> None:
    engine = await boots.start()
    with pytest.raises(Invalid, match="end_time"):
        await create(ticking(engine), end_time=FIRST - 1)
    assert await engine.fetch("SELECT count(*) FROM crons") == [(0,)]


async def test_an_end_before_the_next_date_disables_and_no_end_enables_again_from_now_on(
    boots: Any,
) -> None:
    engine = await boots.start()
    made = ticking(engine)
    cron = await create(made)

    ended = await update(made, cron, end_time=FIRST - 1)
    assert (ended.enabled, ended.next_run_date) == (False, None)
    with pytest.raises(Invalid, match="end_time"):
        await update(made, cron, enabled=True)
    engine.now = FIRST + 90 * SECOND
    again = await update(made, cron, endless=True, enabled=True)

    assert (again.enabled, again.next_run_date) == (True, FIRST + 2 * MINUTE)


async def test_a_schedule_whose_years_are_over_is_disabled_after_its_last_date(boots: Any) -> None:
    engine = await boots.start()
    made = ticking(engine)
    cron = await create(made, schedule="0 0 31 12 * 0 2023")
    engine.now = cron.next_run_date or 0

    await made.tick()

    assert await count_runs(engine) == 1
    assert not (await made.crons.get(INTERNAL, cron.cron_id)).enabled


async def test_a_disabled_cron_does_not_fire_and_keeps_its_date_until_it_is_enabled(boots: Any) -> None:
    engine = await boots.start()
    made = ticking(engine)
    cron = await create(made, enabled=False)
    engine.now = FIRST + 90 * SECOND
    await made.tick()
    assert await count_runs(engine) == 0
    assert (await made.crons.get(INTERNAL, cron.cron_id)).next_run_date == FIRST

    await update(made, cron, enabled=True)
    await made.tick()

    assert await count_runs(engine) == 0  # the dates of the meantime are gone
    assert (await made.crons.get(INTERNAL, cron.cron_id)).next_run_date == FIRST + 2 * MINUTE


# changes


async def test_a_change_finds_the_date_anew_only_if_it_follows_from_what_has_changed(boots: Any) -> None:
    engine = await boots.start()
    made = ticking(engine)
    cron = await create(made, schedule="0 3 * * *", metadata={"a": {"x": 1}, "b": 1})

    same = await update(made, cron, metadata={"a": {"y": 1}})
    assert same.next_run_date == cron.next_run_date
    assert same.metadata == same.payload["metadata"] == {"a": {"y": 1}, "b": 1}
    tokyo = await update(made, cron, timezone="Asia/Tokyo")
    assert wire.iso(tokyo.next_run_date or 0) == "2023-11-15T18:00:00+00:00"
    half = await update(made, cron, schedule="30 3 * * *")
    assert wire.iso(half.next_run_date or 0) == "2023-11-15T18:30:00+00:00"
    assert (half.schedule, half.timezone, half.payload["schedule"]) == (
        "30 3 * * *",
        "Asia/Tokyo",
        "30 3 * * *",
    )
    assert half == await made.crons.get(INTERNAL, cron.cron_id)


@pytest.mark.parametrize("change", [{"schedule": ""}, {"schedule": "bad"}, {"timezone": ""}])
async def test_a_change_that_is_refused_changes_nothing(boots: Any, change: dict[str, Any]) -> None:
    engine = await boots.start()
    made = ticking(engine)
    cron = await create(made)

    with pytest.raises(Invalid):
        await update(made, cron, **change)
    with pytest.raises(Rejected):
        await update(made, cron, schedule="0 0 30 2 *")

    assert await made.crons.get(INTERNAL, cron.cron_id) == cron


async def test_a_change_that_races_with_a_firing_is_made_after_it(boots: Any, monkeypatch: Any) -> None:
    engine = await boots.start()
    made = ticking(engine)
    cron = await create(made)
    engine.now = FIRST
    find = SqliteStore.cron_find

    async def then_fire(storage: SqliteStore, *asked: Any) -> Any:
        found = await find(storage, *asked)
        monkeypatch.setattr(SqliteStore, "cron_find", find)
        await made.tick()
        return found

    monkeypatch.setattr(SqliteStore, "cron_find", then_fire)
    changed = await update(made, cron, metadata={"a": 1})

    assert changed.next_run_date == FIRST + MINUTE
    assert await fired(engine, cron) == [0]
    stored = await made.crons.get(INTERNAL, cron.cron_id)
    assert (stored.metadata, stored.next_run_date) == ({"a": 1}, FIRST + MINUTE)


async def test_a_cron_that_is_changed_between_reading_and_firing_fires_as_it_is_then(
    boots: Any, monkeypatch: Any
) -> None:
    engine = await boots.start()
    made = ticking(engine)
    cron = await create(made)
    engine.now = FIRST
    due = SqliteStore.crons_due

    async def then_change(*arguments: Any) -> list[Cron]:
        found: list[Cron] = await due(*arguments)
        monkeypatch.setattr(SqliteStore, "crons_due", due)
        await update(made, cron, metadata={"changed": True})
        return found

    monkeypatch.setattr(SqliteStore, "crons_due", then_change)
    made.crons.changed.take()
    await made.tick()
    assert await count_runs(engine) == 0
    assert made.crons.changed.given
    await made.tick()

    ((metadata,),) = await engine.fetch("SELECT metadata FROM runs")
    assert '"changed":true' in metadata


async def test_what_is_gone_can_be_neither_changed_nor_deleted(boots: Any) -> None:
    engine = await boots.start()
    made = ticking(engine)
    cron = await create(made)
    await made.crons.delete(INTERNAL, cron.cron_id)

    for again in (
        made.crons.delete(INTERNAL, cron.cron_id),
        update(made, cron, enabled=False),
        made.crons.get(INTERNAL, cron.cron_id),
    ):
        with pytest.raises(NotFound):
            await again


# what goes wrong


async def test_a_cron_that_breaks_passes_its_date_and_starves_no_other(
    boots: Any, monkeypatch: Any, caplog: Any
) -> None:
    engine = await boots.start()
    made = ticking(engine)
    broken, sound = await create(made), await create(made)
    real = requests.run_request

    def breaking(cron: Cron, now: int) -> Any:
        if cron.cron_id == broken.cron_id:
            raise RuntimeError("what nobody thought of")
        return real(cron, now)

    monkeypatch.setattr(requests, "run_request", breaking)
    for minute in range(2):
        engine.now = FIRST + minute * MINUTE
        assert await made.tick() == pytest.approx(min(60.0, ticker.LONGEST_WAIT_S))

    assert await fired(engine, sound) == [0, 60]
    assert await fired(engine, broken) == []
    assert (await made.crons.get(INTERNAL, broken.cron_id)).next_run_date == FIRST + 2 * MINUTE
    assert "what nobody thought of" in caplog.text


async def test_a_cron_whose_next_date_can_not_be_found_fires_once_more_and_is_disabled(
    boots: Any, monkeypatch: Any, caplog: Any
) -> None:
    engine = await boots.start()
    made = ticking(engine)
    cron = await create(made)
    engine.now = FIRST

    def lost(*_: Any) -> int:
        raise RuntimeError("a calendar without pages")

    monkeypatch.setattr(schedule, "next_date", lost)
    await made.tick()

    assert await fired(engine, cron) == [0]
    assert not (await made.crons.get(INTERNAL, cron.cron_id)).enabled
    assert "a calendar without pages" in caplog.text


async def test_a_date_that_could_not_be_stored_is_tried_again_and_others_do_not_wait_for_it(
    boots: Any, monkeypatch: Any, caplog: Any
) -> None:
    engine = await boots.start()
    made = ticking(engine)
    unlucky, lucky = await create(made), await create(made)
    fire = SqliteStore.cron_fire_if_current

    async def full(storage: SqliteStore, firing: Firing, **options: Any) -> Any:
        if firing.cron_id == unlucky.cron_id:
            raise failures.FullDisk("the disk is full")
        return await fire(storage, firing, **options)

    monkeypatch.setattr(SqliteStore, "cron_fire_if_current", full)
    engine.now = FIRST
    assert await made.tick() == pytest.approx(ticker.AFTER_ERROR_S)
    assert await made.tick() == pytest.approx(ticker.AFTER_ERROR_S)
    assert (await fired(engine, lucky), await fired(engine, unlucky)) == ([0], [])
    assert caplog.text.count("the disk is full") == 1

    monkeypatch.setattr(SqliteStore, "cron_fire_if_current", fire)
    engine.now += SECOND
    await made.tick()

    assert await fired(engine, unlucky) == [0]


async def test_the_loop_survives_a_table_that_can_not_be_read(
    boots: Any, monkeypatch: Any, caplog: Any
) -> None:
    engine = await boots.start()
    made = ticking(engine)
    await create(made)
    engine.now = FIRST
    due = SqliteStore.crons_due

    async def unreadable(*_: Any) -> list[Cron]:
        monkeypatch.setattr(SqliteStore, "crons_due", due)
        raise sqlite3.OperationalError("unable to open database file")

    monkeypatch.setattr(SqliteStore, "crons_due", unreadable)
    monkeypatch.setattr(loops, "FIRST_PAUSE_S", 0.0)
    engine.tasks.spawn_forever(made.run, "ticker")

    await engine.workers.board.until(lambda: bool(engine.worker.runs))
    assert "unable to open database file" in caplog.text


async def test_a_rejected_run_costs_its_date_and_says_so(boots: Any, caplog: Any) -> None:
    engine = await boots.start()
    made = ticking(engine)
    busy = await engine.executing()
    cron = await create(made, busy.thread_id, multitask_strategy="reject")
    engine.now = FIRST

    await made.tick()

    assert await count_runs(engine) == 1
    assert await fired(engine, cron) == [0]
    assert "passes this date: Thread is already running a task." in caplog.text
    assert made.crons.counts.dates_passed == 1


async def test_a_run_that_supersedes_cancels_the_one_that_executes(boots: Any) -> None:
    engine = await boots.start()
    made = ticking(engine)
    busy = await engine.executing()
    await create(made, busy.thread_id, multitask_strategy="interrupt")
    engine.now = FIRST

    await made.tick()

    assert engine.worker.cancels == [(busy.run_id, 1)]


async def test_the_crons_of_a_deleted_thread_are_gone(boots: Any) -> None:
    engine = await boots.start()
    made = ticking(engine)
    run = await engine.executing()
    await create(made, run.thread_id)
    await engine.runs.delete_thread(INTERNAL, run.thread_id)
    engine.now = FIRST

    await made.tick()

    assert await count_runs(engine) == 0
    assert await engine.fetch("SELECT count(*) FROM crons") == [(0,)]


async def test_many_crons_of_one_moment_all_fire_each_once(boots: Any, caplog: Any) -> None:
    caplog.set_level(logging.WARNING)
    engine = await boots.start()
    made = ticking(engine)
    await asyncio.gather(*(create(made) for _ in range(ticker.PAGE + 20)))
    engine.now = FIRST

    await made.tick()

    assert await count_runs(engine) == ticker.PAGE + 20
    await made.tick()
    assert await engine.fetch(
        "SELECT count(*), max(n) FROM (SELECT count(*) n FROM firings GROUP BY cron_id)"
    ) == [(ticker.PAGE + 20, 1)]


async def test_two_tickers_on_one_table_fire_each_date_once(boots: Any) -> None:
    engine = await boots.start()
    first, second = ticking(engine), ticking(engine)
    cron = await create(first)
    engine.now = FIRST

    await asyncio.gather(first.tick(), second.tick())

    assert await fired(engine, cron) == [0]
    assert await count_runs(engine) == 1


# the run


async def test_the_run_of_a_stateless_cron_has_what_its_payload_says_on_a_thread_of_its_own(
    boots: Any,
) -> None:
    engine = await boots.start()
    made = ticking(engine)
    cron = await create(
        made,
        metadata={"m": 1},
        input={"v": 1},
        stream_mode="updates",
        durability="sync",
        stream_subgraphs=True,
        interrupt_before=["a"],
        config={"tags": ["t"], "recursion_limit": 7, "configurable": {"foo": 1}},
    )
    for minute in range(2):
        engine.now = FIRST + minute * MINUTE
        await made.tick()

    rows = await engine.fetch("SELECT thread_id, run_id FROM runs ORDER BY created_at")
    assert len({thread_id for thread_id, _ in rows}) == 2
    run = await engine.storage.run_get(INTERNAL, *rows[0])
    thread = await engine.storage.thread_get(INTERNAL, run.thread_id)
    assert thread.metadata["m"] == 1
    assert run.ephemeral
    assert run.created_at == FIRST
    assert run.metadata == {"created_by": "system", "m": 1, "assistant_id": cron.assistant_id}
    kwargs = run.kwargs
    assert kwargs["input"] == {"v": 1}
    assert (kwargs["stream_mode"], kwargs["durability"], kwargs["subgraphs"]) == (["updates"], "sync", True)
    assert (kwargs["temporary"], kwargs["interrupt_before"]) == (True, ["a"])
    assert (kwargs["config"]["tags"], kwargs["config"]["recursion_limit"]) == (["t"], 7)
    configurable = kwargs["config"]["configurable"]
    assert configurable["cron_id"] == cron.cron_id
    assert configurable["foo"] == 1
    assert configurable["langgraph_auth_user"] == {
        "identity": "",
        "is_authenticated": True,
        "display_name": "",
    }
    assert (configurable["langgraph_request_id"], configurable["langgraph_auth_permissions"]) == (None, [])
    assert kwargs["context"] == {"foo": 1, "cron_id": cron.cron_id}


async def test_a_kept_thread_stays_and_a_context_is_given_as_it_is(boots: Any) -> None:
    engine = await boots.start()
    made = ticking(engine)
    await create(made, on_run_completed="keep", context={"a": 1}, metadata={"m": 1})
    engine.now = FIRST
    await made.tick()

    ((thread_id, run_id),) = await engine.fetch("SELECT thread_id, run_id FROM runs")
    run = await engine.storage.run_get(INTERNAL, thread_id, run_id)
    assert not run.ephemeral
    assert not run.kwargs["temporary"]
    assert run.kwargs["context"] == {"a": 1}
    assert run.kwargs["config"]["configurable"]["a"] == 1
    await engine.worker.started(run_id)
    engine.worker.end(run_id, "success")
    await engine.landed()
    assert (await engine.thread(run)).metadata["m"] == 1


async def test_the_run_of_a_thread_cron_is_appended_to_its_thread_whose_metadata_stay(boots: Any) -> None:
    engine = await boots.start()
    made = ticking(engine)
    thread = await engine.storage.thread_create(
        INTERNAL, "01a20283-0000-7000-8000-000000000000", {"t": 1}, do_nothing=False, now=engine.now
    )
    cron = await create(made, thread.thread_id, metadata={"m": 1}, on_run_completed="keep")
    assert cron.on_run_completed is None
    engine.now = FIRST
    await made.tick()

    ((run_id,),) = await engine.fetch("SELECT run_id FROM firings")
    run = await engine.storage.run_get(INTERNAL, thread.thread_id, run_id)
    assert run.metadata.items() >= {"t": 1, "m": 1, "graph_id": "chat"}.items()
    assert "m" not in (await engine.storage.thread_get(INTERNAL, thread.thread_id)).metadata


def test_the_defaults_of_a_run_are_those_of_a_client_that_names_nothing() -> None:
    bare = making.cron(payload={})
    request = requests.run_request(bare, 5)
    assert (request.multitask_strategy, request.received_at) == ("enqueue", 5)
    assert request.kwargs["stream_mode"] == ["values"]
    assert request.kwargs["durability"] == "async"
    legacy = requests.run_request(attrs.evolve(bare, payload={"checkpoint_during": False}), 5)
    assert legacy.kwargs["durability"] == "exit"


async def test_the_ticker_ends_when_it_is_told_to(boots: Any) -> None:
    engine = await boots.start()
    made = ticking(engine)
    group = tasks.Group("test")
    running = group.spawn(made.run(), "ticker", awaited=True)
    await engine.storage.counters()

    await group.stop()

    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert running.done()


async def test_a_foreign_lock_costs_no_date_and_it_fires_when_the_lock_is_gone(
    boots: Any, monkeypatch: Any, caplog: Any
) -> None:
    engine = await boots.start()
    made = ticking(engine)
    cron = await create(made)
    engine.now = FIRST
    monkeypatch.setattr(writing, "LOCK_PATIENCE_S", 0.0)
    monkeypatch.setattr(writing, "LOCK_GLANCE_S", 0.0)
    foreign = sqlite3.connect(boots.path, isolation_level=None)
    foreign.execute("BEGIN IMMEDIATE")

    assert await made.tick() == pytest.approx(ticker.AFTER_ERROR_S)

    foreign.execute("ROLLBACK")
    foreign.close()
    assert (await made.crons.get(INTERNAL, cron.cron_id)).next_run_date == FIRST
    assert "it is tried again in 1 s: another process holds the lock" in caplog.text
    engine.now += SECOND
    await made.tick()
    assert await fired(engine, cron) == [0]
    assert await count_runs(engine) == 1


async def test_a_fault_of_ours_costs_no_date_and_is_tried_again_more_and_more_seldom(
    boots: Any, monkeypatch: Any
) -> None:
    engine = await boots.start()
    made = ticking(engine)
    cron = await create(made)
    fire = SqliteStore.cron_fire_if_current

    async def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("what nobody thought of")

    monkeypatch.setattr(SqliteStore, "cron_fire_if_current", broken)
    engine.now = FIRST
    pauses = []
    for _ in range(8):
        await made.tick()
        again = made._failed[cron.cron_id].again
        pauses.append((again - engine.now) // SECOND)
        engine.now = again
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    assert made.crons.counts.firings_failed == 8
    assert (await made.crons.get(INTERNAL, cron.cron_id)).next_run_date == FIRST

    monkeypatch.setattr(SqliteStore, "cron_fire_if_current", fire)
    await made.tick()
    assert await fired(engine, cron) == [0]
    assert made._failed == {}


async def test_a_run_that_is_refused_for_what_it_is_costs_its_date(
    boots: Any, monkeypatch: Any, caplog: Any
) -> None:
    engine = await boots.start()
    made = ticking(engine)
    cron = await create(made)
    fire = SqliteStore.cron_fire_if_current

    async def refusing(storage: SqliteStore, firing: Firing, **options: Any) -> Any:
        if firing.request is not None:
            raise Invalid("no such checkpoint")
        return await fire(storage, firing, **options)

    monkeypatch.setattr(SqliteStore, "cron_fire_if_current", refusing)
    engine.now = FIRST
    await made.tick()
    assert (await made.crons.get(INTERNAL, cron.cron_id)).next_run_date == FIRST + MINUTE
    assert await count_runs(engine) == 0
    assert "passes this date: no such checkpoint" in caplog.text
    assert made.crons.counts.dates_passed == 1


async def test_a_date_that_comes_while_another_fires_is_not_overlooked(boots: Any, monkeypatch: Any) -> None:
    engine = await boots.start()
    made = ticking(engine)
    slow, other = await create(made), await create(made, schedule="* * * * * 5")
    fire = SqliteStore.cron_fire_if_current

    async def slowly(storage: SqliteStore, firing: Firing, **options: Any) -> Any:
        if firing.cron_id == slow.cron_id and engine.now < FIRST + 9 * SECOND:
            engine.now = FIRST + 9 * SECOND  # it has taken that long
        return await fire(storage, firing, **options)

    monkeypatch.setattr(SqliteStore, "cron_fire_if_current", slowly)
    engine.now = FIRST
    assert await made.tick() == 0.0
    await made.tick()
    assert (await fired(engine, slow), await fired(engine, other)) == ([0], [5])
