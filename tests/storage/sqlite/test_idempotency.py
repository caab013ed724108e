"""A request with a key makes its thing once, in the transaction that notes the key."""

from __future__ import annotations

from typing import Any

import pytest

from gatewayd.errors import Invalid, NotFound
from gatewayd.model.caller import INTERNAL
from gatewayd.model.idempotency import Idempotency
from gatewayd.storage.sqlite import admission, idempotency, runs, threads


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
    runs.run_delete(desk.connection, first.run.thread_id, first.run.run_id, desk.tick())
    desk.restart()
    assert desk.admit(None, once=once()).run == again.run
    assert desk.fetch("SELECT count(*) FROM threads") == [(1,)]


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
    desk.connection.rollback()
    assert not desk.admit(None, once=once()).repeated


def test_a_batch_is_made_as_a_whole_and_repeated_as_a_whole(desk: Any) -> None:
    requests = [desk.request(None, once=once().item(number)) for number in range(3)]
    made = admission.runs_create_all(desk.connection, requests, desk.boot, 2)
    assert [each.started for each in made] == [True, True, False]
    again = admission.runs_create_all(desk.connection, requests, desk.boot, 2)
    assert [each.run.run_id for each in again] == [each.run.run_id for each in made]
    assert all(each.repeated for each in again)


async def test_of_a_batch_with_a_wrong_item_nothing_is_made(storage: Any, desk: Any) -> None:
    requests = [desk.request(None), desk.request(None, assistant="nobody")]
    with pytest.raises(NotFound):
        await storage.runs_create_all(INTERNAL, requests, claim=2)
    assert desk.fetch("SELECT * FROM runs") == desk.fetch("SELECT * FROM threads") == []


def test_a_thread_is_made_once_too(desk: Any) -> None:
    made = threads.thread_create(desk.connection, "t", {"a": 1}, False, desk.tick(), once())
    threads.thread_patch(desk.connection, "t", {"a": 2}, desk.tick())
    assert threads.thread_create(desk.connection, "t", {"a": 1}, False, desk.tick(), once()) == made
    assert threads.thread_create(desk.connection, "other", {}, False, desk.tick(), once()) == made


def test_old_keys_are_forgotten_in_steps(desk: Any) -> None:
    for number in range(5):
        desk.admit(None, once=once(str(number)))
    before = desk.now
    young = desk.admit(None, once=once("young"))
    assert idempotency.idempotency_sweep_step(desk.connection, before, 3) == 3
    assert idempotency.idempotency_sweep_step(desk.connection, before + 1, 3) == 2
    assert not desk.admit(None, once=once("0")).repeated
    assert desk.admit(None, once=once("young")).run.run_id == young.run.run_id
