"""What is owed to a webhook is owed if and only if its run has ended, and is settled once."""

from __future__ import annotations

from typing import Any

import pytest

from gatewayd.errors import Conflict, NotFound
from gatewayd.model.webhook import Attempt, Delivery

URL = "http://example.com/hook"
KWARGS = {"input": {}, "command": None, "webhook": URL}


def owed(desk: Any) -> list[Delivery]:
    found: list[Delivery] = desk.ask.webhooks_due(desk.now, 100)
    return found


def tried(number: int, status: int | None = 500) -> Attempt:
    return Attempt(
        attempt=number, started_at=1, took_us=2, status=status, error=None if status else "no answer"
    )


@pytest.mark.parametrize(
    ("status", "outcome", "told"),
    [
        ("success", {}, "success"),
        ("error", {"error": {"error": "E", "message": "m"}}, "error"),
        ("timeout", {"error": {"error": "TimeoutError", "message": ""}}, "timeout"),
        ("interrupted", {"cancel_error": {"error": "UserInterrupt", "message": "m"}}, "interrupted"),
        (
            "interrupted",
            {"rollback": True, "cancel_error": {"error": "UserRollback", "message": "m"}},
            "rollback",
        ),
    ],
)
def test_every_end_of_a_run_with_a_webhook_owes_one(
    desk: Any, status: str, outcome: dict[str, Any], told: str
) -> None:
    run_id = desk.create(desk.thread(), claim=True, kwargs=KWARGS)
    desk.create(desk.thread(), claim=True)
    assert owed(desk) == []
    desk.finish(run_id, status, **outcome)
    (delivery,) = owed(desk)
    assert (delivery.run.run_id, delivery.url, delivery.status) == (run_id, URL, told)
    assert delivery.error == (outcome.get("error") or outcome.get("cancel_error"))
    assert delivery.run.ended_at == delivery.created_at
    assert delivery.run.result is None
    assert len(owed(desk)) == 1


def test_a_run_without_a_webhook_owes_nothing(desk: Any) -> None:
    desk.finish(desk.create(desk.thread(), claim=True))
    assert owed(desk) == []


def test_what_is_owed_outlives_run_and_thread(desk: Any) -> None:
    thread_id = desk.thread()
    run_id = desk.create(thread_id, claim=True, kwargs=KWARGS)
    desk.finish(run_id)
    before = owed(desk)
    run = desk.run(run_id)
    desk.delete(thread_id, run_id)
    desk.ask.thread_delete(thread_id, desk.tick())
    while not desk.ask.thread_sweep_step(thread_id, 100):
        pass
    assert owed(desk) == before
    assert desk.ask.webhook_values(run) is None


def test_an_attempt_is_noted_once_and_says_what_follows(desk: Any) -> None:
    desk.finish(desk.create(desk.thread(), claim=True, kwargs=KWARGS))
    delivery_id = owed(desk)[0].delivery_id

    def end(number: int, due: int | None, delivered: bool, status: int | None = 500) -> bool:
        made = tried(number, status)
        return bool(desk.ask.webhook_attempt_end(delivery_id, made, due, delivered=delivered))

    assert end(1, desk.now + 5, False)
    assert not end(1, desk.now + 5, False)
    assert owed(desk) == []
    assert desk.ask.webhooks_next_due(desk.now) == desk.now + 5
    assert end(2, None, True, 200)
    assert not end(3, None, True, 200)
    found = desk.ask.webhook_get(delivery_id)
    assert (found.state, found.attempts, found.due_at) == ("delivered", 2, None)
    assert [attempt.status for attempt in found.log] == [500, 200]


def test_what_was_given_up_or_delivered_can_be_owed_again_and_what_is_owed_can_not(desk: Any) -> None:
    desk.finish(desk.create(desk.thread(), claim=True, kwargs=KWARGS))
    delivery_id = owed(desk)[0].delivery_id
    with pytest.raises(Conflict):
        desk.ask.webhook_owe_again(delivery_id, desk.now)
    desk.ask.webhook_attempt_end(delivery_id, tried(1), None, delivered=False)
    assert owed(desk) == []
    desk.ask.webhook_owe_again(delivery_id, desk.now)
    assert owed(desk)[0].attempts == 1
    with pytest.raises(NotFound):
        desk.ask.webhook_owe_again("nobody", desk.now)


def test_only_what_is_not_owed_is_forgotten_with_its_log(desk: Any) -> None:
    for _ in range(3):
        desk.finish(desk.create(desk.thread(), claim=True, kwargs=KWARGS))
    first, second, _ = owed(desk)
    for delivery in (first, second):
        desk.ask.webhook_attempt_end(delivery.delivery_id, tried(1), None, delivered=False)
    assert desk.ask.webhooks_sweep_step(second.created_at, 10) == 1
    assert desk.ask.webhooks_sweep_step(desk.now + 1, 10) == 1
    for delivery in (first, second):
        with pytest.raises(NotFound):
            desk.ask.webhook_get(delivery.delivery_id)
    assert len(owed(desk)) == 1
