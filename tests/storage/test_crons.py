"""Crons in storage: one run for each date, whatever races, repeats or fails."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from gatewayd import ids
from gatewayd.errors import Invalid, NotFound
from gatewayd.model.caller import INTERNAL
from gatewayd.model.cron import Cron
from gatewayd.storage import store

MINUTE = 60_000_000


def look(desk: Any, cron: Cron) -> Cron:
    found: Cron | None = desk.ask.cron_find(cron.cron_id)
    assert found is not None, "the cron is gone"
    return found


def count_crons(desk: Any) -> int:
    return int(desk.ask.crons_count(store.CronSearch(metadata={})))


def count_runs(desk: Any) -> int:
    return len(desk.ask.runs_search(store.RunSearch(limit=1000)))


def test_a_graphs_name_is_stored_as_its_assistants_id_also_in_the_payload(desk: Any) -> None:
    cron = desk.cron()

    assert cron.assistant_id == ids.system_assistant_id("chat")
    assert cron.payload["assistant_id"] == cron.assistant_id
    assert look(desk, cron) == cron


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"assistant_id": "nope"}, "Assistant 'nope' not found"),
        (
            {"thread_id": "01a20283-0000-7000-8000-000000000000", "on_run_completed": None},
            "Thread with ID '01a2",
        ),
    ],
)
def test_no_cron_is_stored_for_what_does_not_exist(desk: Any, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(NotFound, match=sentence):
        desk.cron(**changes)
    assert count_crons(desk) == 0


def test_a_fired_run_is_started_in_the_same_transaction_if_there_is_a_place(desk: Any) -> None:
    thread_id = desk.thread()

    fired = desk.take(desk.firing(desk.cron(thread_id)), claim=True)

    assert fired.created is not None
    assert fired.created.started
    assert desk.holder(thread_id) == fired.created.run.run_id


def test_the_same_firing_twice_creates_one_run(desk: Any) -> None:
    wanted = desk.firing(desk.cron())

    assert desk.take(wanted).created is not None
    assert desk.take(wanted) == store.FiredCron(current=False)
    assert count_runs(desk) == 1


def test_a_date_has_one_run_even_if_the_cron_is_moved_back_to_it(desk: Any) -> None:
    cron = desk.cron()
    desk.take(desk.firing(cron))
    moved = attrs.evolve(look(desk, cron), next_run_date=cron.next_run_date)
    assert desk.ask.cron_update_if_current(moved)

    again = desk.take(desk.firing(look(desk, cron)))

    assert again == store.FiredCron(current=True)
    assert count_runs(desk) == 1
    assert look(desk, cron).next_run_date == cron.next_run_date + MINUTE


def test_a_date_before_one_that_was_taken_has_no_run(desk: Any) -> None:
    cron = desk.cron()
    desk.take(desk.firing(cron))
    earlier = attrs.evolve(look(desk, cron), next_run_date=cron.next_run_date - 1)
    desk.ask.cron_update_if_current(earlier)

    assert desk.take(desk.firing(look(desk, cron))).created is None
    assert count_runs(desk) == 1


@pytest.mark.parametrize("change", ["disabled", "updated", "deleted"])
def test_a_cron_that_was_changed_since_it_was_read_does_not_fire(desk: Any, change: str) -> None:
    cron = desk.cron()
    wanted = desk.firing(cron)
    if change == "deleted":
        assert desk.ask.cron_delete(cron.cron_id)
    else:
        desk.ask.cron_update_if_current(attrs.evolve(cron, enabled=change != "disabled"))

    assert desk.take(wanted) == store.FiredCron(current=False)
    assert count_runs(desk) == 0


def test_a_change_of_a_cron_that_has_fired_since_it_was_read_is_not_stored(desk: Any) -> None:
    cron = desk.cron()
    desk.take(desk.firing(cron))

    assert not desk.ask.cron_update_if_current(attrs.evolve(cron, schedule="@daily"))
    assert look(desk, cron).schedule == "* * * * *"


def test_a_strategy_that_supersedes_names_the_runs_to_end(desk: Any) -> None:
    thread_id = desk.thread()
    busy = desk.create(thread_id, claim=True)
    wanted = desk.firing(desk.cron(thread_id))
    assert wanted.request is not None

    fired = desk.take(
        attrs.evolve(wanted, request=attrs.evolve(wanted.request, multitask_strategy="interrupt"))
    )

    assert fired.created is not None
    assert [run.run_id for run in fired.created.cancelled] == [busy]


def test_a_cron_tells_its_last_run_how_it_ended_and_how_often_in_a_row_it_failed(desk: Any) -> None:
    cron = desk.cron()

    def now() -> Any:
        return look(desk, cron)

    error = {"error": "ValueError", "message": "boom"}

    def fire() -> str:
        fired = desk.fire(now(), claim=True)
        assert fired.created is not None
        return str(fired.created.run.run_id)

    def told() -> Any:
        found = now()
        assert found.last_run is not None
        return found.last_run.run_id, found.last_run.status, found.last_run.error, found.failures

    assert now().last_run is None
    first = fire()
    assert told() == (first, "running", None, 0)
    last = now().last_run
    assert (last.thread_id, last.fired_at) == (desk.run(first).thread_id, cron.next_run_date)
    desk.finish(first, status="error", error=error)
    assert told() == (first, "error", error, 1)
    slow, second = fire(), fire()
    desk.finish(slow, status="timeout", error=error)  # not the last one, but a failure
    assert told() == (second, "running", None, 2)
    desk.finish(second, status="interrupted")
    assert told() == (second, "interrupted", None, 2)
    third = fire()
    desk.finish(third, status="error", error=error)
    assert told() == (third, "error", error, 3)
    fourth = fire()
    desk.finish(fourth)
    assert told() == (fourth, "success", None, 0)


@pytest.mark.parametrize(("status", "kept"), [("error", True), ("timeout", True), ("success", False)])
def test_the_thread_of_a_crons_failed_run_is_kept_for_longer_and_found_by_its_id_only(
    desk: Any, status: str, kept: bool
) -> None:
    cron = desk.cron(metadata={"nightly": True})
    fired = desk.fire(cron, claim=True)
    stateless = desk.create(None, claim=True)
    run, other = fired.created.run, desk.run(stateless)
    for run_id in (run.run_id, stateless):
        desk.finish(run_id, status=status)
    candidates = desk.ask.threads_to_sweep(desk.now, 10, 0)
    assert set(candidates) == ({other.thread_id} if kept else {run.thread_id, other.thread_id})
    later = desk.ask.threads_to_sweep(desk.now, 10, desk.now)
    assert set(later) == {run.thread_id, other.thread_id}
    assert desk.ask.threads_count(store.ThreadSearch()) == 0
    for read in (desk.ask.thread_get, desk.ask.thread_find):
        if kept:
            assert read(run.thread_id).thread_id == run.thread_id
        with pytest.raises(NotFound):
            read(other.thread_id if kept else run.thread_id)


def test_a_date_can_pass_without_a_run(desk: Any) -> None:
    cron = desk.cron()

    assert desk.take(desk.firing(cron, request=None)) == store.FiredCron(current=True)
    assert count_runs(desk) == 0
    assert look(desk, cron).next_run_date == cron.next_run_date + MINUTE


def test_without_a_further_date_the_cron_is_disabled(desk: Any) -> None:
    cron = desk.cron()

    fired = desk.take(desk.firing(cron, next_run_date=None))

    assert fired.created is not None
    after = look(desk, cron)
    assert (after.enabled, after.next_run_date) == (False, None)


def test_a_cron_on_the_thread_of_a_stateless_run_goes_when_that_is_hidden(desk: Any) -> None:
    run = desk.admit(None).run
    desk.cron(run.thread_id)

    desk.finish(run.run_id)

    assert count_crons(desk) == 0


def test_a_firing_that_finds_its_thread_gone_deletes_the_cron(desk: Any) -> None:
    cron = desk.cron()
    wanted = desk.firing(cron)
    assert wanted.request is not None
    lost = attrs.evolve(wanted.request, thread_id="01a20283-0000-7000-8000-000000000000")

    fired = desk.take(attrs.evolve(wanted, request=lost))

    assert fired.deleted
    assert count_crons(desk) == 0
    assert count_runs(desk) == 0


# reading


def test_what_is_due_comes_in_the_order_of_its_dates_in_pages_and_without_those_named(desk: Any) -> None:
    late, early, later = (desk.cron(next_run_date=at) for at in (2000, 1000, 3000))
    desk.cron(next_run_date=500, enabled=False)

    def ids_of(found: list[Cron]) -> list[str]:
        return [cron.cron_id for cron in found]

    assert ids_of(desk.ask.crons_due(2000, 10)) == [early.cron_id, late.cron_id]
    assert ids_of(desk.ask.crons_due(2000, 1)) == [early.cron_id]
    assert ids_of(desk.ask.crons_due(2000, 10, [early.cron_id])) == [late.cron_id]
    assert desk.ask.crons_next_date(2000) == later.next_run_date
    assert desk.ask.crons_next_date(3000) is None


def test_a_search_finds_by_all_its_terms_and_a_count_counts_the_same(desk: Any) -> None:
    thread_id = desk.thread()
    a = desk.cron(metadata={"n": 1, "deep": {"x": 1, "y": 2}})
    b = desk.cron(thread_id, enabled=False, metadata={"n": 2})
    c = desk.cron(assistant_id="other", next_run_date=5)

    def found(**terms: Any) -> list[str]:
        search = store.CronSearch(**({"metadata": {}} | terms))
        rows = [cron.cron_id for cron in desk.ask.crons_search(search)]
        assert desk.ask.crons_count(search) == len(rows)
        return rows

    assert found() == [c.cron_id, b.cron_id, a.cron_id]
    assert found(descending=False) == [a.cron_id, b.cron_id, c.cron_id]
    assert (found(sort_by="next_run_date", descending=False))[0] == c.cron_id
    assert found(thread_id=thread_id) == [b.cron_id]
    assert found(enabled=False) == [b.cron_id]
    assert found(enabled=True, assistant_id=a.assistant_id) == [a.cron_id]
    assert found(metadata={"deep": {"x": 1}}) == [a.cron_id]
    page = desk.ask.crons_search(store.CronSearch(metadata={}, limit=1, offset=1))
    assert [cron.cron_id for cron in page] == [b.cron_id, a.cron_id]


async def test_a_filter_that_is_too_large_is_refused(storage: store.Storage) -> None:
    with pytest.raises(Invalid, match="conditions"):
        await storage.crons_count(
            INTERNAL, store.CronSearch(metadata={str(number): 1 for number in range(600)})
        )
