"""No statement of daily work reads the whole of a table that grows."""

from __future__ import annotations

import inspect
import re
import sqlite3
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from gatewayd import ids
from gatewayd.model.caller import INTERNAL
from gatewayd.model.run import RunOutcome
from gatewayd.storage import store
from gatewayd.storage.sqlite import boots, crons, events, idempotency, runs, search, states, threads, webhooks
from gatewayd.storage.sqlite.store import SqliteStore

GROWING = {
    "threads",
    "thread_tags",
    "runs",
    "events",
    "checkpoints",
    "writes",
    "crons",
    "firings",
    "webhooks",
    "webhook_attempts",
    "idempotency",
}

BOUNDED = {
    "runs_due": "as many rows as runs wait",
    "runs_running": "as many rows as runs execute",
    "runs_active": "as many rows as runs wait or execute",
    "crons_by_creation": "read in order and left when the page is full",
    "crons_by_update": "read in order and left when the page is full",
    "crons_by_date": "read in order and left when the page is full",
    "crons_by_end": "read in order and left when the page is full",
    "crons_by_thread": "read in order and left when the page is full",
    "crons_by_assistant": "read in order and left when the page is full",
    "sqlite_autoindex_crons_1": "read in order and left when the page is full",
    "webhooks_due": "as many rows as webhooks are owed",
    "threads_to_prune": "as many rows as threads have events to remove, and left when the page is full",
    "crons_due": "as many rows as crons are due",
    "threads_to_sweep_deleted": "as many rows as threads are gone and not yet swept",
    "sqlite_autoindex_runs_1": "read in order and left when the page is full",
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
            run_id = desk.create(thread_id, claim=True, kwargs={"webhook": "http://example.com/"})
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
        desk.claim(except_runs=frozenset({run_id}))
        stateless = desk.create(None, claim=True)
        desk.emit(desk.run(stateless).thread_id, stateless)
        desk.checkpoint(stateless, "0001")
        desk.write(stateless, "0001")
        desk.requeue(stateless, died=True)
        desk.claim()
        desk.cancel(stateless, "rollback")
        desk.finish(stateless, "interrupted", rollback=True)
        desk.cancel(run_id)
        desk.finish(run_id, "interrupted", quiet=True)
        runs.run_delete(desk.connection, thread_id, desk.create(thread_id), desk.tick())
        boots.counters(desk.connection)
        boots.runs_cancelled_pending(desk.connection)
        desk.restart()
        boots.orphans_requeue(desk.connection, desk.boot, desk.tick(), {}, "resume")
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
        idempotency.idempotency_sweep_step(desk.connection, desk.now, 100)
        webhooks.webhooks_sweep_step(desk.connection, desk.now, 100)
        threads.thread_sweep_step(desk.connection, made, 100)
        events.prune_step(desk.connection, thread_id, desk.now, 3)
        desk.connection.set_trace_callback(None)
    statements = {sql for sql in traced if sql.split()[0] in {"SELECT", "UPDATE", "DELETE", "INSERT", "WITH"}}
    assert len(statements) > 40
    assert [found for sql in sorted(statements) for found in offences(desk.connection, sql)] == []


@pytest.mark.parametrize("analysed", [False, True])
def test_no_trigger_reads_a_whole_table(desk: Any, analysed: bool) -> None:
    """SQLite does not explain what triggers do: their statements are explained by themselves."""
    crowd(desk)
    if analysed:
        desk.connection.execute("ANALYZE")
    row = {"thread_id": "'x'", "metadata": """'{"name":"x"}'"""}
    checked = 0
    for (trigger,) in desk.fetch("SELECT sql FROM sqlite_schema WHERE type = 'trigger'"):
        body = trigger.partition("BEGIN")[2].rpartition("END")[0]
        for statement in filter(str.strip, body.split(";")):
            sql = re.sub(r"\b(?:NEW|OLD)\.(\w+)", lambda found: row.get(found[1], "NULL"), statement)
            assert offences(desk.connection, sql) == []
            checked += 1
    assert checked >= 5


async def test_no_read_of_a_request_reads_a_whole_table(
    storage: SqliteStore, desk: Any, monkeypatch: Any
) -> None:
    states.prepare(desk.connection)  # its plans are looked at
    thread_id = crowd(desk)
    run_id = next(run_id for run_id, status in desk.runs(thread_id).items() if status == "success")
    asked: list[tuple[str, Any]] = []
    rows: Callable[..., Any] = storage.readers.rows
    names: set[str] = set()

    async def noted(sql: str, parameters: Any = ()) -> Any:
        asked.append((sql, parameters))
        return await rows(sql, parameters)

    async def ask(name: str, *given: Any, **named: Any) -> Any:
        names.add(name)
        return await getattr(storage, name)(*given, **named)

    monkeypatch.setattr(storage, "readers", Noted(noted, storage.readers.close))
    storage.scanner.on_statement = lambda sql: asked.append((sql, ()))
    storage.states.scanner.on_statement = storage.scanner.on_statement
    await ask("thread_get", INTERNAL, thread_id)
    await ask("thread_find", INTERNAL, thread_id)
    for fields in searches(thread_id):
        await ask("threads_search", INTERNAL, store.ThreadSearch(**fields))
        await ask("threads_count", INTERNAL, store.ThreadSearch(**fields))
    for sort_by in (
        "cron_id", "assistant_id", "thread_id", "next_run_date", "end_time", "created_at", "updated_at",
    ):  # fmt: skip
        await ask("crons_search", INTERNAL, store.CronSearch(metadata={}, sort_by=sort_by))
    for named in ({"thread_id": thread_id}, {"assistant_id": thread_id, "enabled": True}):
        await ask("crons_search", INTERNAL, store.CronSearch(metadata={}, **named))
    await ask("crons_count", INTERNAL, store.CronSearch(metadata={"a": 1}, thread_id=thread_id))
    for status in (None, "pending", "running", "success", "error", "timeout", "interrupted"):
        await ask("runs_list", INTERNAL, thread_id, status=status, limit=10, offset=0)
        await ask("runs_search", INTERNAL, store.RunSearch(status=status))
    await ask("runs_search", INTERNAL, store.RunSearch(thread_id=thread_id, status="error"))
    await ask("run_get", INTERNAL, thread_id, run_id)
    await ask("run_get_anywhere", INTERNAL, run_id)
    await ask("run_queue_place", INTERNAL, thread_id, run_id)
    await ask("run_log_end", thread_id, run_id)
    await ask("runs_active", INTERNAL, None)
    await ask("runs_active", INTERNAL, "pending")
    await ask("crons_due", desk.now, 100)
    await ask("crons_due", desk.now, 100, ["another"])
    await ask("crons_next_date", desk.now)
    await ask("cron_find", INTERNAL, run_id)
    await ask("webhooks_due", desk.now, 100, ["example.com"])
    await ask("webhooks_next_due", desk.now)
    await ask("webhook_values", desk.run(run_id))
    (delivery,) = await ask("webhooks_of_run", INTERNAL, thread_id, run_id)
    await ask("webhook_get", INTERNAL, delivery.delivery_id)
    await ask("events_page", thread_id, 0)
    await ask("events_page", thread_id, 2, run_id)
    await ask("events_last", thread_id)
    await ask("run_events_before", thread_id, run_id, "1f0e0000-0000-6000-8000-000000000000")
    await ask("events_replay_start", thread_id, desk.now)
    await ask("run_newest_if_recent", thread_id, desk.now)
    await ask("runs_over_before_the_last", thread_id, 0)
    await ask("events_gap", thread_id, 0)
    await ask("run_events_gap", thread_id, run_id, 0)
    await ask("threads_to_prune", desk.now, (0, ""), 10)
    await ask("thread_ttl_get", INTERNAL, thread_id)
    await ask("threads_expired", desk.now, None, 10)
    await ask("runs_queue", desk.now)
    await ask("run_not_begun", thread_id)
    await ask("webhooks_given_up", desk.now)
    await ask("trial")
    assert reading() - names == set(), "a read of the storage that nobody asks for here"
    statements = [(sql, given) for sql, given in asked if sql.split()[0] in {"SELECT", "WITH"}]
    assert len(statements) > 100
    for analysed in (False, True):
        if analysed:
            desk.connection.execute("ANALYZE")
        found = [found for sql, given in statements for found in offences(desk.connection, sql, given)]
        assert found == []


def searches(thread_id: str) -> list[dict[str, Any]]:
    """
    Return searches of every kind: each way in which the planner finds candidates, each order, each status.
    """
    filtered: list[dict[str, Any]] = [
        {},
        {"ids": [thread_id]},
        {"metadata": {"name": "x"}},
        {"metadata": {"name": "x", "other": None}},
        {"metadata": {"nest": {"name": "x"}}},
        {"values": {"a": 1}},
        {"metadata": {"name": "x"}, "values": {"a": 1}},
        {"excluded": [{"name": "x"}]},
        {"metadata": {"nest": [1]}, "excluded": [{"name": "y", "list": [{"a": 1}]}, {"b": 1}]},
    ]
    statuses = (None, "idle", "busy", "interrupted", "error")
    keys = ("thread_id", "status", "created_at", "updated_at", "state_updated_at")
    return [
        {**fields, "status": status, "sort_by": key, "descending": descending}
        for fields in filtered
        for status in statuses
        for key in keys
        for descending in (False, True)
    ]


def reading() -> set[str]:
    """Return the names of all that `Storage` reads with, the assistants' apart: there are few of them."""
    return {
        name
        for name, function in inspect.getmembers(SqliteStore, inspect.isfunction)
        if not name.startswith("_")
        and (
            "self.readers.rows(" in (source := inspect.getsource(function))
            or "self.scanner.read(" in source
            or "self.snapshots.read(" in source
        )
        and not name.startswith("assistant")
    }


@pytest.mark.parametrize("analysed", [False, True])
def test_a_page_of_threads_is_read_in_its_order_and_never_sorted(desk: Any, analysed: bool) -> None:
    crowd(desk)
    if analysed:
        desk.connection.execute("ANALYZE")
    traced: list[str] = []
    desk.connection.set_trace_callback(traced.append)
    for fields in searches("thread"):
        if not {"metadata", "values", "ids", "excluded"} & fields.keys():
            search.threads_search(desk.connection, search.ThreadSearch(**fields))
    desk.connection.set_trace_callback(None)
    walks = [sql for sql in traced if "ORDER BY" in sql]
    assert len(walks) == 50
    for sql in walks:
        plan = [row[3] for row in desk.connection.execute(f"EXPLAIN QUERY PLAN {sql}")]
        assert not any("B-TREE" in step for step in plan), (sql, plan)
        assert any("COVERING INDEX threads_by_status" in step for step in plan), (sql, plan)


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
