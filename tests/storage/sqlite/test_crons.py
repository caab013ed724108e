"""Crons in storage: one run for each date, whatever races, repeats or fails."""

from __future__ import annotations

import sqlite3
from typing import Any

import attrs
import pytest

from gatewayd.model.cron import Cron
from gatewayd.storage.sqlite import crons, threads

MINUTE = 60_000_000


def look(desk: Any, cron: Cron) -> Cron:
    found = desk.fetch(crons.FIND, cron.cron_id)
    assert found, "the cron is gone"
    return crons.record(found[0])


def taken(desk: Any, cron: Cron) -> list[int]:
    return [
        due for (due,) in desk.fetch("SELECT due FROM firings WHERE cron_id = ? ORDER BY due", cron.cron_id)
    ]


def test_firing_creates_the_run_takes_the_date_and_sets_the_next(desk: Any) -> None:
    cron = desk.cron()

    fired = desk.take(desk.firing(cron))

    assert fired.created is not None
    assert desk.run(fired.created.run.run_id).metadata["cron"] == cron.cron_id
    after = look(desk, cron)
    assert after.next_run_date == cron.next_run_date + MINUTE
    assert after.revision == cron.revision + 1
    assert after.updated_at == cron.updated_at
    assert desk.fetch("SELECT due, run_id FROM firings") == [(cron.next_run_date, fired.created.run.run_id)]


def test_the_table_refuses_a_second_row_for_a_date(desk: Any) -> None:
    cron = desk.cron()
    desk.take(desk.firing(cron))

    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        desk.connection.execute(
            "INSERT INTO firings (cron_id, due, fired_at) VALUES (?, ?, 0)",
            (cron.cron_id, cron.next_run_date),
        )


def test_what_a_crash_leaves_of_a_firing_is_nothing_or_all_of_it(desk: Any, second: Any) -> None:
    cron = desk.cron(desk.thread())
    wanted = desk.firing(cron)

    def stored() -> list[Any]:
        return second(
            "SELECT (SELECT count(*) FROM runs), (SELECT count(*) FROM firings), "
            "(SELECT count(*) FROM thread_locks), next_run_date, revision FROM crons"
        )

    before, seen = stored(), []
    desk.connection.set_trace_callback(lambda _: seen.append(stored()))
    desk.connection.execute("BEGIN")
    desk.take(wanted, claim=True)
    desk.connection.execute("COMMIT")
    desk.connection.set_trace_callback(None)

    assert len(seen) > 10
    assert all(state == before for state in seen)
    assert stored() == [(1, 1, 1, cron.next_run_date + MINUTE, cron.revision + 1)]


def test_a_run_that_is_rejected_costs_its_date_and_changes_nothing_else(desk: Any) -> None:
    thread_id = desk.thread()
    busy = desk.create(thread_id)
    cron = desk.cron(thread_id)
    wanted = desk.firing(cron)
    assert wanted.request is not None
    rejecting = attrs.evolve(wanted, request=attrs.evolve(wanted.request, multitask_strategy="reject"))

    fired = desk.take(rejecting)

    assert fired.refusal is not None
    assert not fired.deleted
    assert list(desk.runs(thread_id)) == [busy]
    assert desk.fetch("SELECT due, run_id FROM firings") == [(cron.next_run_date, None)]
    assert look(desk, cron).next_run_date == cron.next_run_date + MINUTE


def test_a_cron_goes_with_its_thread_at_once_and_its_rows_too(desk: Any) -> None:
    thread_id = desk.thread()
    cron, other = desk.cron(thread_id), desk.cron()
    wanted = desk.firing(cron)
    desk.take(wanted)

    threads.thread_delete(desk.connection, thread_id, desk.tick())

    assert desk.fetch("SELECT cron_id FROM crons") == [(other.cron_id,)]
    assert taken(desk, cron) == []
    assert desk.take(wanted) == crons.FiredCron(current=False)


def test_a_cron_goes_with_its_assistant(desk: Any) -> None:
    desk.cron()
    other = desk.cron(assistant_id="other")

    desk.connection.execute("DELETE FROM assistants WHERE graph_id = 'chat'")

    assert desk.fetch("SELECT cron_id FROM crons") == [(other.cron_id,)]


def test_only_the_latest_dates_are_remembered(desk: Any) -> None:
    cron = desk.cron()
    for _ in range(crons.KEPT_FIRINGS + 5):
        desk.take(desk.firing(look(desk, cron)))

    assert len(taken(desk, cron)) == crons.KEPT_FIRINGS
    assert taken(desk, cron)[-1] == look(desk, cron).next_run_date - MINUTE


def test_the_table_holds_no_enabled_cron_without_a_date(desk: Any) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        desk.cron(next_run_date=None)


# reading
