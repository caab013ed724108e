"""No statement of daily work reads the whole of a table that grows."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import attrs

from gatewayd import ids
from gatewayd.model.run import RunOutcome
from gatewayd.storage import store
from gatewayd.storage.sqlite import boots, crons, events, runs, threads

GROWING = {"threads", "runs", "events", "checkpoints", "writes", "crons", "firings"}

BOUNDED = {
    "runs_due": "as many rows as runs wait",
    "runs_running": "as many rows as runs execute",
    "runs_active": "as many rows as runs wait or execute",
    "threads_by_update": "read in order and left when the page is full",
    "threads_to_prune": "as many rows as threads have events to remove, and left when the page is full",
    "crons_due": "as many rows as crons are due",
    "threads_to_sweep": "as many rows as threads are gone and not yet swept",
}
"""Indexes that may be walked from end to end, and why."""


def offences(connection: sqlite3.Connection, sql: str, parameters: Any = ()) -> list[str]:
    """Return the steps of a statement's plan that read a growing table from end to end."""
    found = []
    for _, _, _, step in connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters):
        words = step.split()
        if words[0] != "SCAN" or not GROWING & set(words[1:2]):
            continue
        index = words[words.index("INDEX") + 1] if "INDEX" in words else None
        if index not in BOUNDED:
            found.append(f"{step} <- {' '.join(sql.split())}")
    return found


def crowd(desk: Any) -> str:
    """Fill the tables, so that the planner has something to choose from, and return a thread's id."""
    for _ in range(20):
        thread_id = desk.thread(name="x")
        for number in range(5):
            run_id = desk.create(thread_id, claim=True)
            desk.checkpoint(run_id, f"{number:04}")
            desk.write(run_id, f"{number:04}")
            desk.emit(thread_id, run_id)
            desk.finish(run_id)
        desk.create(thread_id, after_s=60.0)
        for owner in (thread_id, None):
            desk.cron(owner)
    return str(thread_id)


def test_nothing_that_the_writer_does_for_a_run_reads_a_whole_table(desk: Any) -> None:
    thread_id = crowd(desk)
    traced: list[str] = []
    for analysed in (False, True):
        if analysed:
            desk.connection.execute("ANALYZE")
        desk.connection.set_trace_callback(traced.append)
        run_id = desk.create(thread_id)
        desk.create(thread_id, claim=True, multitask_strategy="interrupt")
        desk.claim()
        desk.claim(besides=frozenset({run_id}))
        stateless = desk.create(None, claim=True)
        desk.emit(desk.run(stateless).thread_id, stateless)
        desk.checkpoint(stateless, "0001")
        desk.write(stateless, "0001")
        desk.park(stateless, died=True)
        desk.claim()
        desk.cancel(stateless, "rollback")
        desk.finish(stateless, "interrupted", rollback=True)
        desk.cancel(run_id)
        desk.finish(run_id, "interrupted", quiet=True)
        runs.run_delete(desk.connection, thread_id, desk.create(thread_id), desk.tick())
        boots.counters(desk.connection)
        boots.runs_cancelled_pending(desk.connection)
        desk.restart()
        boots.orphans_park(desk.connection, desk.boot, desk.tick(), {}, "resume")
        due = desk.cron(thread_id)
        assert desk.fire(due).created is not None
        assert crons.cron_update_if_current(desk.connection, attrs.evolve(due, revision=2))
        assert crons.cron_delete(desk.connection, due.cron_id)
        made = ids.new_id()
        threads.thread_create(desk.connection, made, {}, False, desk.tick())
        threads.thread_patch(desk.connection, made, {"a": 1}, desk.tick())
        threads.thread_project(desk.connection, made, RunOutcome(status="success"), desk.tick())
        threads.thread_delete(desk.connection, made, desk.tick())
        threads.sweep_candidates(desk.connection, desk.now, 100)
        threads.thread_sweep_step(desk.connection, made, 100)
        events.prune_step(desk.connection, thread_id, desk.now, 3)
        desk.connection.set_trace_callback(None)
    statements = {sql for sql in traced if sql.split()[0] in {"SELECT", "UPDATE", "DELETE", "INSERT", "WITH"}}
    assert len(statements) > 40
    assert [found for sql in sorted(statements) for found in offences(desk.connection, sql)] == []


async def test_no_read_of_a_request_reads_a_whole_table(
    storage: store.Storage, desk: Any, monkeypatch: Any
) -> None:
    thread_id = crowd(desk)
    run_id = next(iter(desk.runs(thread_id)))
    asked: list[tuple[str, Any]] = []
    rows: Callable[..., Any] = storage.readers.rows

    async def noted(sql: str, parameters: Any = ()) -> Any:
        asked.append((sql, parameters))
        return await rows(sql, parameters)

    monkeypatch.setattr(storage, "readers", Noted(noted, storage.readers.close))
    expanded: list[str] = []
    storage.states.scanner.on_statement = expanded.append
    await storage.thread_get(thread_id)
    await storage.threads_search(store.ThreadSearch(metadata={}, values={}))
    await storage.threads_search(store.ThreadSearch(metadata={"name": "x"}, values={}))
    await storage.threads_search(store.ThreadSearch(metadata={}, values={}, ids=[thread_id]))
    await storage.run_get(thread_id, run_id)
    await storage.run_get_anywhere(run_id)
    await storage.runs_list(thread_id, status=None, limit=10, offset=0)
    await storage.runs_list(thread_id, status="success", limit=10, offset=0)
    await storage.run_log_end(thread_id, run_id)
    await storage.runs_active(None)
    await storage.runs_active("pending")
    await storage.crons_due(desk.now, 100)
    await storage.crons_due(desk.now, 100, ["another"])
    await storage.crons_next_date(desk.now)
    await storage.cron_find(run_id)
    await storage.crons_search(store.CronSearch(metadata={}, thread_id=thread_id))
    await storage.crons_count(store.CronSearch(metadata={}, assistant_id=thread_id))
    await storage.events_page(thread_id, 0)
    await storage.events_page(thread_id, 2, run_id)
    await storage.events_last(thread_id)
    await storage.events_replay_start(thread_id, desk.now)
    await storage.events_gap(thread_id, 0)
    await storage.run_events_gap(thread_id, run_id, 0)
    await storage.threads_to_prune(desk.now, (0, ""), 10)
    await storage.webhook_values(desk.run(run_id))
    asked += [(sql, ()) for sql in expanded if sql.split()[0] == "SELECT"]
    assert len(asked) == 25
    for analysed in (False, True):
        if analysed:
            desk.connection.execute("ANALYZE")
        assert [
            found for sql, parameters in asked for found in offences(desk.connection, sql, parameters)
        ] == []


class Noted:
    """Stands where the readers stand."""

    def __init__(self, rows: Any, close: Any) -> None:
        self.rows = rows
        self.close = close


def test_a_page_of_events_is_found_by_its_key_from_its_beginning_to_its_end(desk: Any) -> None:
    crowd(desk)
    names = {"thread_id": "t", "run_id": "r", "after": 0, "bytes": 1, "chunks": 1}
    for sql in (events.PAGE, events.PAGE_OF_RUN):
        plan = [row[3] for row in desk.connection.execute(f"EXPLAIN QUERY PLAN {sql}", names)]
        searches = [step for step in plan if "events" in step]
        assert len(searches) == 2
        assert all(
            step.startswith("SEARCH events USING INDEX") and "last_seq>" in step for step in searches
        ), plan
