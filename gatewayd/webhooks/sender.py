"""Sending webhooks: a loop that is woken by hints and by the clock, and acts only on what the table says."""

from __future__ import annotations

import asyncio
import logging
import random
import re
import socket
import time
from collections import Counter
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.connector import AddrInfoType
from attrs import define, field

import gatewayd
from gatewayd import excerpts, loops, tasks
from gatewayd.errors import GatewaydError, NotFound
from gatewayd.model.caller import Caller
from gatewayd.model.run import Run
from gatewayd.model.webhook import Attempt, Delivery
from gatewayd.storage import store
from gatewayd.webhooks import payload, policy

log = logging.getLogger(__name__)

OpenSocket = Callable[[AddrInfoType], socket.socket]
"""Makes the socket for a connection to an address."""


def open_socket(about: AddrInfoType) -> socket.socket:
    family, kind, protocol, *_ = about
    return socket.socket(family, kind, protocol)


BACKOFF_S: Final = (1.0, 4.0, 15.0, 60.0, 300.0, 900.0, 2400.0)
"""Waits before the second attempt, the third, …, each varied at random by 10 % up or down."""
LONGEST_RETRY_AFTER_S: Final = 3600.0
AGAIN: Final = frozenset({408, 425, 429})
"""Statuses below 500 that are retried."""
AT_ONCE, AT_ONCE_TO_HOST = 32, 4
"""The most concurrent attempts, in all and to one host."""
LONGEST_WAIT_S: Final = 60.0
AFTER_ERROR_S: Final = 1.0
PAGE: Final = 200
"""Due webhooks that are read at once."""


@define(eq=False)
class _Guard(AbstractResolver):
    """
    Resolves the host of one attempt and opens its socket; refuses addresses that the policy does not allow.
    """

    policy: policy.Policy
    host: str
    """The host in the form of the rules."""
    open_socket: OpenSocket

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        addresses = await self.policy.resolve(host, port)
        for address in addresses:  # all: the connector would skip one that is refused only in `connect`
            self.policy.check_address(self.host, address)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in addresses
        ]

    def connect(self, about: AddrInfoType) -> socket.socket:
        """Return a socket for an address. An address in the URL itself was not resolved before."""
        self.policy.check_address(self.host, str(about[4][0]))
        return self.open_socket(about)

    async def close(self) -> None:
        pass


@define(eq=False)
class Sender:
    """Sends the due webhooks."""

    storage: store.Storage
    policy: policy.Policy
    show: Callable[[Run], dict[str, Any]]
    """Returns a run as the API shows it."""
    secret: str = ""
    """Signs the bodies, if it is not empty."""
    timeout_s: float = 30.0
    now: Callable[[], int] = lambda: time.time_ns() // 1000
    open_socket: OpenSocket = open_socket
    attempts_failed: int = field(default=0, init=False)
    given_up: int = field(default=0, init=False)
    """Webhooks that became dead."""
    hint: tasks.Hint = field(factory=tasks.Hint, init=False)
    """Given when a webhook may be due."""
    _under_way: dict[str, str] = field(factory=dict, init=False)
    """Delivery id to host."""
    _tasks: tasks.Group = field(factory=lambda: tasks.Group("webhooks"), init=False)

    async def run(self, turned: loops.Turned = lambda: None) -> None:
        """
        Send due webhooks until cancelled; unfinished attempts are abandoned then, and the webhooks stay owed.

        It may be called again after an error.
        """
        self._tasks = tasks.Group("webhooks")
        try:
            wait_s = 0.0
            while True:
                await self.hint.wait(wait_s)
                wait_s = await self._look()
                turned()
        finally:
            await self._tasks.stop()

    async def get(self, whose: Caller, delivery_id: str) -> Delivery:
        """Return a webhook with its log. Raises `NotFound`."""
        return await self.storage.webhook_get(whose, delivery_id)

    async def of_run(self, whose: Caller, thread_id: str, run_id: str) -> list[Delivery]:
        """Return a run's webhooks with their logs, also of a run that is gone. Raises `NotFound`."""
        deliveries = await self.storage.webhooks_of_run(whose, thread_id, run_id)
        if not deliveries and await self.storage.run_get(whose, thread_id, run_id) is None:
            raise NotFound("Run not found")
        return deliveries

    async def redeliver(self, whose: Caller, delivery_id: str) -> None:
        """
        Send a delivered or dead webhook again. Raises `NotFound`, and `Conflict` if it is owed.
        """
        await self.storage.webhook_owe_again(whose, delivery_id, self.now())
        self.hint.give()

    async def _look(self) -> float:
        """Start the due attempts; return the seconds until the next one may be due."""
        now = self.now()
        hosts = Counter(self._under_way.values())
        while True:
            full = {host for host, attempts in hosts.items() if attempts >= AT_ONCE_TO_HOST}
            # Full hosts are left out in the query: a slow receiver may be owed more than a page, and others
            # would wait behind it.
            page = await self.storage.webhooks_due(now, PAGE, full)
            for delivery in page:
                host = _place(delivery.url)
                if delivery.delivery_id in self._under_way or hosts[host] >= AT_ONCE_TO_HOST:
                    continue
                if len(self._under_way) >= AT_ONCE:
                    break
                hosts[host] += 1
                self._under_way[delivery.delivery_id] = host
                self._tasks.spawn(self._deliver(delivery), f"deliver {delivery.delivery_id}")
            if len(page) < PAGE or len(self._under_way) >= AT_ONCE:
                break
            if not any(attempts >= AT_ONCE_TO_HOST and host not in full for host, attempts in hosts.items()):
                break
        due = await self.storage.webhooks_next_due(now)
        return tasks.seconds_until(due, self.now(), LONGEST_WAIT_S)

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            await self._attempt(delivery)
        except GatewaydError as error:
            log.error("the attempt could not be noted: %s", error.detail, extra=delivery.about)
            await asyncio.sleep(AFTER_ERROR_S)
        except Exception:  # it is still owed; a pause, since the error would repeat at once
            log.exception("the webhook of run %s failed", delivery.run.run_id, extra=delivery.about)
            await asyncio.sleep(AFTER_ERROR_S)
        finally:
            del self._under_way[delivery.delivery_id]
            self.hint.give()  # another attempt may start

    async def _attempt(self, delivery: Delivery) -> None:
        started = self.now()
        values = None if delivery.run.ephemeral else await self.storage.webhook_values(delivery.run)
        status, error, retry_after_s, final = await self._tried(delivery, values, started)
        delivered = status is not None and 200 <= status < 300
        number, due = delivery.attempts + 1, None
        if not (delivered or final or number > len(BACKOFF_S)):
            wait_s = BACKOFF_S[number - 1] * random.uniform(0.9, 1.1)
            due = self.now() + int(max(wait_s, min(retry_after_s, LONGEST_RETRY_AFTER_S)) * 1e6)
        made = Attempt(
            attempt=number, started_at=started, took_us=self.now() - started, status=status, error=error
        )
        # Until it is stored: a full disk must not make the receiver get the webhook again and again.
        await tasks.until_done(
            lambda: self.storage.webhook_attempt_end(delivery.delivery_id, made, due, delivered=delivered),
            f"an attempt to tell of run {delivery.run.run_id} could not be noted",
            AFTER_ERROR_S,
        )
        outcome = "delivered" if delivered else "to be tried again" if due else "given up"
        self.attempts_failed += not delivered
        self.given_up += not delivered and due is None
        log.log(
            logging.INFO if delivered else logging.WARNING,
            "webhook of run %s: attempt %d, %s: %s",
            delivery.run.run_id,
            number,
            error or f"status {status}",
            outcome,
            extra=delivery.about,
        )

    async def _tried(
        self, delivery: Delivery, values: Any, started: int
    ) -> tuple[int | None, str | None, float, bool]:
        """Make one attempt; a fault of ours counts as a failed attempt, with the usual waits."""
        try:
            body = payload.build(delivery, values, self.show, started)
            return await self._post(delivery, body, started)
        except Exception as error:
            log.exception("the webhook of run %s failed", delivery.run.run_id, extra=delivery.about)
            text = excerpts.excerpt(f"{type(error).__name__}: {error}", excerpts.STORED)
            return None, text, 0.0, False

    async def _post(
        self, delivery: Delivery, body: bytes, now: int
    ) -> tuple[int | None, str | None, float, bool]:
        """
        Return status, error, the seconds of Retry-After, and whether the failure is final.
        """
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"gatewayd/{gatewayd.__version__}",
            "Idempotency-Key": delivery.delivery_id,
            **self.policy.rules.headers,
        }
        if self.secret:
            headers["X-Gatewayd-Signature"] = payload.signature(self.secret, body, now // 1_000_000)
        if not self.policy.rules.sent:
            return None, "webhooks are switched off (http.disable_webhooks)", 0.0, True
        try:
            url = self.policy.check_form(delivery.url)
            async with (
                self._session(policy.host_of(url)) as session,
                session.post(url, data=body, headers=headers, allow_redirects=False) as answer,
            ):
                status = answer.status
                final = not 200 <= status < 300 and status < 500 and status not in AGAIN
                retry_after_s = _retry_after(answer.headers.get("Retry-After", ""), self.now())
                error = None if 200 <= status < 300 else f"status {status}"
                return status, error, retry_after_s, final
        except policy.Refused as refused:
            return None, str(refused), 0.0, True
        except TimeoutError:
            return None, f"no answer within {self.timeout_s:g} s", 0.0, False
        except (aiohttp.ClientError, OSError, ValueError) as error:
            text = excerpts.excerpt(f"{type(error).__name__}: {error}", excerpts.STORED)
            return None, text, 0.0, False

    def _session(self, host: str) -> aiohttp.ClientSession:
        """
        Return a session for one attempt.

        A reused connection would escape the check of its address by the rules of the time.
        """
        guard = _Guard(self.policy, host, self.open_socket)
        connector = aiohttp.TCPConnector(
            resolver=guard, socket_factory=guard.connect, use_dns_cache=False, force_close=True
        )
        return aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=self.timeout_s),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )


def _place(url: str) -> str:
    """Return host and port as the URL has them; attempts are counted, and rows left out, by them."""
    rest = url.partition("://")[2]
    return re.split(r"[/?#]", rest, maxsplit=1)[0]


def _retry_after(value: str, now: int) -> float:
    """Return the seconds of a Retry-After header (a number or a date); 0 if it is missing or invalid."""
    if value.strip().isdecimal() and len(value) < 10:
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now / 1e6)
    except (ValueError, TypeError, OverflowError):
        return 0.0
