"""A request with a key makes its thing once, in the transaction that notes the key."""

from __future__ import annotations

from typing import Any

import pytest

from gatewayd.errors import Invalid, NotFound
from gatewayd.model.idempotency import Idempotency
from gatewayd.storage import store


def once(key: str = "k", body: bytes = b"{}") -> Idempotency:
    return Idempotency.of(key, "POST", "/runs", body)


def test_a_repeat_gets_the_run_as_it_was_made_whatever_has_become_of_it(desk: Any) -> None:
    first = desk.admit(None, claim=True, once=once())
    desk.finish(first.run.run_id)
    again = desk.admit(None, claim=True, once=once())
    assert (again.repeated, again.started, again.cancelled) == (True, False, [])
    assert (again.run.run_id, again.run.status, again.run.kwargs) == (
        first.run.run_id,
        "pending",
        first.run.kwargs,
    )
    desk.delete(first.run.thread_id, first.run.run_id)
    desk.restart()
    assert desk.admit(None, once=once()).run == again.run
    assert desk.ask.threads_to_sweep(desk.now, 10, desk.now) == [first.run.thread_id]


def test_a_repeat_cancels_nobody(desk: Any) -> None:
    thread_id = desk.thread()
    first = desk.admit(thread_id, claim=True, multitask_strategy="interrupt", once=once())
    again = desk.admit(thread_id, claim=True, multitask_strategy="interrupt", once=once())
    assert again.repeated
    assert desk.run(first.run.run_id).cancel_action is None


def test_a_key_is_good_for_one_request(desk: Any) -> None:
    desk.admit(None, once=once())
    with pytest.raises(Invalid, match="Idempotency-Key"):
        desk.admit(None, once=once(body=b'{"other":1}'))
    assert not desk.admit(None, once=once("another")).repeated


def test_a_request_that_failed_may_be_tried_again(desk: Any) -> None:
    with pytest.raises(NotFound):
        desk.admit(None, assistant="nobody", once=once())
    assert not desk.admit(None, once=once()).repeated


def test_a_batch_is_made_as_a_whole_and_repeated_as_a_whole(desk: Any) -> None:
    requests = [desk.request(None, once=once().item(number)) for number in range(3)]
    made = desk.ask.runs_create_all(requests, claim=2)
    assert [each.started for each in made] == [True, True, False]
    again = desk.ask.runs_create_all(requests, claim=2)
    assert [each.run.run_id for each in again] == [each.run.run_id for each in made]
    assert all(each.repeated for each in again)


def test_of_a_batch_with_a_wrong_item_nothing_is_made(storage: Any, desk: Any) -> None:
    requests = [desk.request(None), desk.request(None, assistant="nobody")]
    with pytest.raises(NotFound):
        desk.ask.runs_create_all(requests, claim=2)
    assert desk.ask.runs_search(store.RunSearch()) == desk.ask.threads_to_sweep(desk.now, 10, desk.now) == []
    assert desk.ask.threads_count(store.ThreadSearch()) == 0


def test_a_thread_is_made_once_too(desk: Any) -> None:
    made = desk.ask.thread_create("t", {"a": 1}, do_nothing=False, now=desk.tick(), once=once())
    desk.ask.thread_patch("t", {"a": 2}, desk.tick())
    assert desk.ask.thread_create("t", {"a": 1}, do_nothing=False, now=desk.tick(), once=once()) == made
    assert desk.ask.thread_create("other", {}, do_nothing=False, now=desk.tick(), once=once()) == made


def test_old_keys_are_forgotten_in_steps(desk: Any) -> None:
    for number in range(5):
        desk.admit(None, once=once(str(number)))
    before = desk.now
    young = desk.admit(None, once=once("young"))
    assert desk.ask.idempotency_sweep_step(before, 3) == 3
    assert desk.ask.idempotency_sweep_step(before + 1, 3) == 2
    assert not desk.admit(None, once=once("0")).repeated
    assert desk.admit(None, once=once("young")).run.run_id == young.run.run_id
