"""How long threads are kept: whose time is over, who is passed over, and what is done but once."""

from __future__ import annotations

import math
from typing import Any

import pytest

from gatewayd.errors import Invalid, NotFound
from gatewayd.storage import store

MINUTE = 60_000_000


def expired(desk: Any, *, limit: int = 100, behind: store.Expired | None = None) -> list[store.Expired]:
    found: list[store.Expired] = desk.ask.threads_expired(desk.now, behind, limit)
    return found


def names(desk: Any) -> list[str]:
    return [each.thread_id for each in expired(desk)]


def test_a_time_to_live_is_given_shown_changed_and_taken_away(desk: Any) -> None:
    thread_id = desk.thread()
    assert desk.ask.thread_ttl_get(thread_id) is None
    desk.ask.thread_ttl_set(thread_id, "delete", 1.5)
    shown = desk.ask.thread_ttl_get(thread_id)
    assert shown is not None
    assert (shown.strategy, shown.ttl_minutes) == ("delete", 1.5)
    assert shown.expires_at == desk.look(thread_id).updated_at + MINUTE * 3 // 2
    desk.ask.thread_ttl_set(thread_id, "keep_latest", 2)
    shown = desk.ask.thread_ttl_get(thread_id)
    assert shown is not None
    assert (shown.strategy, shown.ttl_minutes) == ("keep_latest", 2.0)
    desk.ask.thread_ttl_set(thread_id, None, None)
    assert desk.ask.thread_ttl_get(thread_id) is None


@pytest.mark.parametrize("minutes", [0, -1, math.inf, math.nan, 1e30])
def test_minutes_that_would_delete_at_once_or_mean_nothing_are_refused(desk: Any, minutes: float) -> None:
    with pytest.raises(Invalid, match=r"ttl\.ttl"):
        desk.ask.thread_ttl_set(desk.thread(), "delete", minutes)


def test_a_thread_that_is_not_there_gets_no_time_to_live(desk: Any) -> None:
    gone = desk.thread()
    desk.ask.thread_delete(gone, desk.tick())
    for thread_id in (gone, "never"):
        with pytest.raises(NotFound):
            desk.ask.thread_ttl_set(thread_id, "delete", 1)
        assert desk.ask.thread_ttl_get(thread_id) is None


def test_the_default_is_for_threads_created_after_it_however_they_come_about(desk: Any) -> None:
    before = desk.thread()
    desk.ask.default_ttl_set("delete", 10)
    asked = desk.thread()
    by_run = desk.run(desk.create(None, keep_thread=True)).thread_id
    stateless = desk.run(desk.create(None)).thread_id
    desk.ask.thread_copy_begin(before, "copy", "op", desk.tick())
    desk.ask.thread_copy_end(before, "copy", "op", desk.tick())
    desk.ask.default_ttl_set("keep_latest", 20)
    later = desk.thread()
    desk.ask.default_ttl_set(None, None)
    without = desk.thread()
    found = [
        (shown.strategy, shown.ttl_minutes) if shown is not None else None
        for shown in (
            desk.ask.thread_ttl_get(thread_id)
            for thread_id in (before, asked, by_run, "copy", stateless, later, without)
        )
    ]
    default = ("delete", 10.0)
    assert found == [None, default, default, default, None, ("keep_latest", 20.0), None]


def test_the_time_counts_from_the_last_activity(desk: Any) -> None:
    thread_id = desk.thread()
    desk.ask.thread_ttl_set(thread_id, "delete", 1)
    desk.now += MINUTE - 5000
    desk.finish(desk.create(thread_id, claim=True))
    desk.now += MINUTE - 5000
    assert names(desk) == []
    desk.ask.thread_patch(thread_id, {"a": 1}, desk.tick())
    desk.now += MINUTE - 1
    assert names(desk) == []
    desk.now += 1
    assert names(desk) == [thread_id]


def test_threads_that_somebody_works_on_are_passed_over_whatever_the_clock_says(desk: Any) -> None:
    running, waiting, delayed, held, idle = (desk.thread() for _ in range(5))
    for thread_id in (running, waiting, delayed, held, idle):
        desk.ask.thread_ttl_set(thread_id, "delete", 0.001)
    desk.create(running, claim=True)
    desk.create(waiting)
    desk.create(delayed, after_s=3600.0)
    desk.ask.thread_lock_acquire_for_operation(held, "operation")
    desk.now += MINUTE
    assert names(desk) == [idle]


def test_a_thread_with_crons_is_not_deleted_from_under_them_and_may_be_cut(desk: Any) -> None:
    planned, disabled, cut = (desk.thread() for _ in range(3))
    for thread_id, strategy in ((planned, "delete"), (disabled, "delete"), (cut, "keep_latest")):
        desk.ask.thread_ttl_set(thread_id, strategy, 1)
        desk.cron(thread_id, enabled=thread_id != disabled)
    desk.now += 2 * MINUTE
    assert sorted(names(desk)) == sorted([disabled, cut])


def test_pages_follow_each_other_in_the_order_in_which_the_time_was_over(desk: Any) -> None:
    made = [desk.thread() for _ in range(5)]
    for number, thread_id in enumerate(made):
        desk.ask.thread_ttl_set(thread_id, "delete", 5 - number)
    desk.now += 10 * MINUTE
    first = expired(desk, limit=2)
    second = expired(desk, limit=3, behind=first[-1])
    assert [each.thread_id for each in [*first, *second]] == made[::-1]


def test_a_thread_is_deleted_only_if_nothing_has_happened_since_it_was_found(desk: Any) -> None:
    made = [desk.thread() for _ in range(5)]
    for thread_id in made:
        desk.ask.thread_ttl_set(thread_id, "delete", 1)
    desk.now += 2 * MINUTE
    touched, begun, held, renamed, idle = expired(desk)
    desk.ask.thread_patch(touched.thread_id, {}, desk.tick())
    desk.create(begun.thread_id)
    desk.ask.thread_lock_acquire_for_operation(held.thread_id, "operation")
    desk.ask.thread_ttl_set(renamed.thread_id, "keep_latest", 1)
    done = [
        desk.ask.thread_delete_if_expired(each, desk.tick()) for each in (touched, begun, held, renamed, idle)
    ]
    assert done == [False, False, False, False, True]
    assert not desk.exists(idle.thread_id)
    assert not desk.ask.thread_delete_if_expired(idle, desk.tick())


def test_the_latest_states_are_kept_once_after_each_activity(desk: Any) -> None:
    thread_id = desk.thread()
    desk.ask.thread_ttl_set(thread_id, "keep_latest", 1)
    desk.now += 2 * MINUTE
    (found,) = expired(desk)
    desk.ask.thread_keep_latest_done(found)
    assert names(desk) == []
    desk.now += 100 * MINUTE
    assert names(desk) == []
    desk.finish(desk.create(thread_id, claim=True))
    desk.now += 2 * MINUTE
    assert names(desk) == [thread_id]
    (found,) = expired(desk)
    desk.ask.thread_patch(thread_id, {}, desk.tick())  # in the middle of it
    desk.ask.thread_keep_latest_done(found)
    desk.now += 2 * MINUTE
    assert names(desk) == [thread_id]
