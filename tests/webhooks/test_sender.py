"""Sending webhooks to a receiver that the test plays."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from attrs import define, field

from gatewayd import ids, logs, tasks
from gatewayd.model.caller import INTERNAL
from gatewayd.model.run import RunOutcome
from gatewayd.model.webhook import Delivery, WebhookRules
from gatewayd.storage import opening, store
from gatewayd.webhooks import policy, sender
from tests import making


@define(eq=False)
class Receiver:
    """Answers with what the test says, and keeps what it gets."""

    answers: list[Any] = field(factory=list)
    """Statuses, or responses, for the next requests; 200 when there are none left."""
    seen: list[tuple[dict[str, str], bytes]] = field(factory=list)
    queries: list[str] = field(factory=list)
    url: str = ""
    gate: asyncio.Event = field(factory=asyncio.Event)
    _changed: asyncio.Event = field(factory=asyncio.Event)

    def __attrs_post_init__(self) -> None:
        self.gate.set()

    async def take(self, request: web.Request) -> web.Response:
        self.queries.append(request.query_string)
        self.seen.append((dict(request.headers), await request.read()))
        self._changed.set()
        await self.gate.wait()
        answer = self.answers.pop(0) if self.answers else 200
        return answer if isinstance(answer, web.Response) else web.Response(status=answer)

    async def got(self, count: int) -> list[dict[str, Any]]:
        async with asyncio.timeout(20):
            while len(self.seen) < count:
                self._changed.clear()
                await self._changed.wait()
        return [json.loads(body) for _, body in self.seen]


@define(eq=False)
class Bench:
    """A sender on a real file, with a clock that the test turns."""

    path: Path
    receiver: Receiver
    storage: store.Storage
    sender: sender.Sender
    now: int = making.START
    group: tasks.Group = field(factory=lambda: tasks.Group("test"))

    async def ended(self, *, stateless: bool = False, **outcome: Any) -> str:
        """Have a run with a webhook end, and return its id."""
        request = making.run_request(
            thread_id=None if stateless else ids.new_id(),
            kwargs={"input": {"secret": 1}, "command": None, "webhook": self.receiver.url},
            received_at=self.now,
        )
        run = (await self.storage.run_create(INTERNAL, request, claim=True)).run
        stored = asyncio.get_running_loop().create_future()
        end = making.end(run.thread_id, run.run_id, self.now)
        done = RunOutcome(**{"status": "success", "result": b'{"v":1,"__interrupt__":[]}', **outcome})
        self.storage.run_finish_if_active(
            run.run_id, 0, done, end, self.now, stored.set_result, stored.set_exception
        )
        assert await stored
        self.sender.hint.give()
        return run.run_id

    async def delivery(self, run_id: str) -> Delivery:
        rows = await self.storage.writer.submit(
            lambda connection: connection.execute(
                "SELECT delivery_id FROM webhooks WHERE run_id = ?", (run_id,)
            ).fetchall()
        )
        return await self.storage.webhook_get(INTERNAL, rows[0][0])

    async def settled(self, run_id: str, attempts: int) -> Delivery:
        """Wait until so many attempts have been noted."""
        async with asyncio.timeout(20):
            while (found := await self.delivery(run_id)).attempts < attempts:
                await self.storage.counters()
        return found

    def later(self, seconds: float) -> None:
        self.now += int(seconds * 1e6)
        self.sender.hint.give()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    app = web.Application()
    app.router.add_post("/hook", made.take)
    server = TestServer(app)
    await server.start_server()
    made.url = str(server.make_url("/hook"))
    yield made
    made.gate.set()
    await server.close()


@pytest.fixture
async def bench(tmp_path: Path, receiver: Receiver) -> AsyncIterator[Callable[..., Any]]:
    benches: list[Bench] = []

    async def start(*, now: int = making.START, rules: WebhookRules | None = None, **options: Any) -> Bench:
        storage = await opening.open_storage(tmp_path / "db", now, 1, "test")
        await storage.system_assistants_sync({"chat": None}, now)
        made = sender.Sender(
            storage=storage,
            policy=policy.Policy(rules=rules or WebhookRules(loopback=True, headers={"X-Own": "yes"})),
            show=lambda run: {"run_id": run.run_id, "kwargs": run.kwargs, "status": run.status},
            **options,
        )
        here = Bench(tmp_path, receiver, storage, made, now)
        made.now = lambda: here.now
        here.group.spawn(made.run(), "sender")
        benches.append(here)
        return here

    yield start
    for here in benches:
        await here.group.stop()
        await here.storage.close(making.START)


async def test_an_ended_run_is_told_with_its_values_and_a_signature(bench: Any, receiver: Receiver) -> None:
    here = await bench(secret="s3cret")
    run_id = await here.ended()
    (body,) = await receiver.got(1)
    assert body["run_id"] == run_id
    assert body["values"] == {"v": 1}
    assert body["status"] == "success"
    assert "error" not in body
    assert {"run_started_at", "run_ended_at", "webhook_sent_at"} <= body.keys()
    assert "langgraph_auth_user" not in body["kwargs"]["config"]["configurable"]
    headers, raw = receiver.seen[0]
    delivery = await here.settled(run_id, 1)
    assert headers["Idempotency-Key"] == delivery.delivery_id
    assert (headers["X-Own"], headers["Content-Type"]) == ("yes", "application/json")
    stamp, _, digest = headers["X-Gatewayd-Signature"].removeprefix("t=").partition(",v1=")
    assert hmac.new(b"s3cret", f"{stamp}.".encode() + raw, hashlib.sha256).hexdigest() == digest
    assert (delivery.state, delivery.log[0].status) == ("delivered", 200)


async def test_a_stateless_or_failed_run_is_told_as_the_reference_does(
    bench: Any, receiver: Receiver
) -> None:
    here = await bench()
    await here.ended(stateless=True)
    await receiver.got(1)
    error = {"error": "UserRollback", "message": "m"}
    await here.ended(status="interrupted", rollback=True, cancel_error=error, result=None, values=b'{"v":0}')
    bodies = await receiver.got(2)
    assert bodies[0]["values"] is None
    assert (bodies[1]["status"], bodies[1]["error"]) == ("rollback", error)


async def test_a_failed_attempt_is_repeated_later_with_the_same_key(bench: Any, receiver: Receiver) -> None:
    here = await bench()
    receiver.answers = [500, 503, 200]
    run_id = await here.ended()
    first = await here.settled(run_id, 1)
    assert (first.state, here.now + 900_000 <= first.due_at <= here.now + 1_100_000) == ("owed", True)
    here.later(0.5)
    await here.storage.counters()
    here.later(1.0)
    second = await here.settled(run_id, 2)
    assert second.due_at > here.now + 3_000_000
    here.later(5.0)
    third = await here.settled(run_id, 3)
    assert (third.state, [each.status for each in third.log]) == ("delivered", [500, 503, 200])
    assert len({headers["Idempotency-Key"] for headers, _ in receiver.seen}) == 1


@pytest.mark.parametrize(
    ("value", "least"), [("30", 30), ("Wed, 15 Nov 2023 00:00:00 GMT", 6400), ("9" * 8, 3600)]
)
async def test_a_receiver_that_asks_for_time_gets_it(
    bench: Any, receiver: Receiver, value: str, least: int
) -> None:
    here = await bench()
    receiver.answers = [web.Response(status=429, headers={"Retry-After": value})]
    found = await here.settled(await here.ended(), 1)
    assert found.due_at - here.now >= min(least, 3600) * 1_000_000
    assert found.due_at - here.now <= 3600 * 1_000_000


@pytest.mark.parametrize("status", [400, 404, 410, 307])
async def test_what_would_be_no_use_is_not_repeated_and_no_redirect_is_followed(
    bench: Any, receiver: Receiver, status: int
) -> None:
    here = await bench()
    receiver.answers = [web.Response(status=status, headers={"Location": receiver.url})]
    found = await here.settled(await here.ended(), 1)
    assert (found.state, found.log[0].status) == ("dead", status)
    assert len(receiver.seen) == 1


async def test_after_the_last_attempt_it_is_dead_and_can_be_sent_again(
    bench: Any, receiver: Receiver
) -> None:
    here = await bench()
    tries = len(sender.BACKOFF_S) + 1
    receiver.answers = [500] * tries
    run_id = await here.ended()
    for number in range(1, tries + 1):
        found = await here.settled(run_id, number)
        here.later(3600)
    assert found.state == "dead"
    assert (here.sender.attempts_failed, here.sender.given_up) == (tries, 1)
    await here.sender.redeliver(INTERNAL, found.delivery_id)
    again = await here.settled(run_id, tries + 1)
    assert (again.state, len(again.log)) == ("delivered", tries + 1)


async def test_a_restart_goes_on_with_the_schedule(bench: Any, receiver: Receiver) -> None:
    here = await bench()
    receiver.answers = [500]
    run_id = await here.ended()
    first = await here.settled(run_id, 1)
    await here.group.stop()
    await here.storage.close(making.START)
    again = await bench(now=here.now)
    assert (await again.delivery(run_id)).due_at == first.due_at
    again.later(5.0)
    assert (await again.settled(run_id, 2)).state == "delivered"
    assert receiver.seen[0][0]["Idempotency-Key"] == receiver.seen[1][0]["Idempotency-Key"]


async def test_an_attempt_cut_by_a_stop_is_made_again(bench: Any, receiver: Receiver) -> None:
    here = await bench()
    receiver.gate.clear()
    run_id = await here.ended()
    await receiver.got(1)
    await here.group.stop()
    await here.storage.close(making.START)
    receiver.gate.set()
    again = await bench(now=here.now)
    assert (await again.settled(run_id, 1)).state == "delivered"
    assert len(receiver.seen) == 2


async def test_a_slow_receiver_takes_only_its_share(bench: Any, receiver: Receiver) -> None:
    here = await bench()
    receiver.gate.clear()
    for _ in range(sender.AT_ONCE_TO_HOST + 2):
        last = await here.ended()
    await receiver.got(sender.AT_ONCE_TO_HOST)
    await here.storage.counters()
    assert len(receiver.seen) == sender.AT_ONCE_TO_HOST
    receiver.gate.set()
    assert (await here.settled(last, 1)).state == "delivered"


async def test_no_answer_in_time_is_a_failed_attempt(bench: Any, receiver: Receiver) -> None:
    here = await bench(timeout_s=0.05)
    receiver.gate.clear()
    found = await here.settled(await here.ended(), 1)
    assert (found.state, found.log[0].status) == ("owed", None)
    assert "no answer within" in found.log[0].error


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "rebound.test", "2130706433", "127.1", "🯱27.0.0.¹", "0x7f.1", "[::ffff:127.0.0.1]"]
)
async def test_an_address_that_may_not_be_connected_to_is_refused_whatever_it_was_at_the_creation(
    bench: Any, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """The name stood for another address when the run was created."""
    resolve = asyncio.get_running_loop().getaddrinfo

    async def rebound(name: str, *args: Any, **how: Any) -> Any:
        return await resolve("127.0.0.1" if name == "rebound.test" else name, *args, **how)

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", rebound)
    receiver.url = receiver.url.replace("127.0.0.1", host)
    here = await bench(rules=WebhookRules())
    found = await here.settled(await here.ended(), 1)
    assert (found.state, found.log[0].error) == ("dead", "Webhook host blocked: loopback IP range")
    assert receiver.seen == []


@define(eq=False)
class Connector:
    """Notes which addresses would be connected to, and connects to none."""

    asked: list[str] = field(factory=list)

    def open(self, about: Any) -> Any:
        self.asked.append(about[4][0])
        raise ConnectionRefusedError("nothing listens in this test")


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("named.test", "192.0.0.192"),
        ("named.test", "169.254.169.254"),
        ("named.test", "64:ff9b:1::1"),
        ("192.0.0.192", None),
        ("[::ffff:93.184.216.34]", None),
        ("[64:ff9b:1::1]", None),
        ("[::5db8:d822]", None),
    ],
)
async def test_a_blocked_address_is_not_connected_to_be_it_resolved_or_written_in_the_url(
    bench: Any, receiver: Receiver, host: str, address: str | None
) -> None:
    connector = Connector()
    receiver.url = f"http://{host}:8080/hook"
    here = await bench(open_socket=connector.open)
    here.sender.policy = policy.Policy(rules=WebhookRules(loopback=True), resolve=_always(address))
    found = await here.settled(await here.ended(), 1)
    assert (found.state, found.log[0].error) == ("dead", "Webhook host blocked: blocked IP range")
    assert connector.asked == []


async def test_what_is_connected_to_is_the_address_that_was_checked(bench: Any, receiver: Receiver) -> None:
    connector = Connector()
    receiver.url = "http://named.test:8080/hook"
    here = await bench(open_socket=connector.open)
    here.sender.policy = policy.Policy(resolve=_always("93.184.216.34"))
    found = await here.settled(await here.ended(), 1)
    assert (found.state, connector.asked) == ("owed", ["93.184.216.34"])


async def test_an_address_is_judged_by_the_rules_of_the_moment_also_on_a_host_that_was_just_posted_to(
    bench: Any, receiver: Receiver
) -> None:
    """
    A reload may have changed the rules; a kept connection, or a connector with the old ones, would not know.
    """
    here = await bench()
    receiver.url = receiver.url.replace("127.0.0.1", "named.test")
    here.sender.policy = policy.Policy(rules=WebhookRules(loopback=True), resolve=_always("127.0.0.1"))
    assert (await here.settled(await here.ended(), 1)).state == "delivered"
    here.sender.policy = policy.Policy(rules=WebhookRules(), resolve=_always("127.0.0.1"))
    found = await here.settled(await here.ended(), 1)
    assert (found.state, found.log[0].error) == ("dead", "Webhook host blocked: loopback IP range")
    assert len(receiver.seen) == 1


def _always(address: str | None) -> policy.Resolve:
    async def resolve(host: str, port: int) -> list[str]:
        assert address is not None, "a literal is not resolved"
        return [address]

    return resolve


async def test_user_and_query_reach_the_receiver_and_no_log(
    bench: Any, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    receiver.url = receiver.url.replace("http://", "http://agent:pa55word@") + "?token=s3cret"
    here = await bench()
    assert (await here.settled(await here.ended(), 1)).state == "delivered"
    headers, _ = receiver.seen[0]
    assert headers["Authorization"] == "Basic " + base64.b64encode(b"agent:pa55word").decode()
    assert receiver.queries == ["token=s3cret"]
    receiver.url = receiver.url.replace("127.0.0.1", "refused.test")
    here.sender.open_socket = Connector().open
    here.sender.policy = policy.Policy(resolve=_always("93.184.216.34"))
    assert (await here.settled(await here.ended(), 1)).state == "owed"
    told = [
        logs.TextFormatter().format(record) for record in caplog.records if record.name.startswith("gatewayd")
    ]
    assert [line for line in told if "webhook of run" in line and "token=***" in line]
    assert not [line for line in told if "pa55word" in line or "s3cret" in line]


async def test_webhooks_that_are_switched_off_are_not_sent(bench: Any, receiver: Receiver) -> None:
    here = await bench(rules=WebhookRules(loopback=True, sent=False))
    found = await here.settled(await here.ended(), 1)
    assert (found.state, receiver.seen) == ("dead", [])
    assert "http.disable_webhooks" in found.log[0].error


async def test_a_receiver_with_many_due_webhooks_does_not_keep_those_of_others(
    bench: Any, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "PAGE", 6)
    here = await bench()
    receiver.gate.clear()  # it answers nobody for the time being
    slow, hint = receiver.url, here.sender.hint
    here.sender.hint = tasks.Hint()  # all are owed before the sender looks, and it looks once
    for _ in range(8):
        await here.ended()
    receiver.url = slow.replace("127.0.0.1", "localhost")
    other = await here.ended()
    hint.give()
    bodies = await receiver.got(sender.AT_ONCE_TO_HOST + 1)
    assert other in [body["run_id"] for body in bodies]
