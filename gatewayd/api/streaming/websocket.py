"""A WebSocket of protocol v2: events and commands over one connection.

A *session* has subscriptions and one cursor over the thread's log. Its states, and who moves them:

    silent      before the first subscription nothing is sent but answers
    following   the first `subscription.subscribe` (or `.reconnect`) has been answered; the pump sends what
                comes
    over        the client has closed or does not answer PINGs, takes nothing, sent what is no text; or the
                server stops

Two tasks: the handler reads commands one after the other, the pump follows the log. Both send under one lock.
The session's `position` is the number up to which the pump has *sent*, moved under the lock; so a new
subscription, which is sent everything kept up to there before its answer, neither misses an event nor gets
one twice.

What happens on each failure: a bad frame is answered with an error and the connection stays; so is a command
that fails for any reason; a log that can't be read is told by an error without an id, then the
connection is closed with 1011; at the server's stop the connection is cut. A client that takes nothing for
`write_timeout_s`, or does not answer a PING within half an interval, is cut off: its connection is aborted,
since an orderly close waits behind what it does not take. Memory: one page of events for the session, and
what the socket's buffer holds. Frames are not compressed: the window and tables of a connection's compressor
take 100 KiB and more as long as it lasts.

Limits: the filters of a connection (`subscriptions.Subscriptions`), and its commands: after a burst of
`COMMANDS_BURST` each waits for its turn, `COMMANDS_PER_S` a second. Until then no more than some 500 KiB are
read from the client; if it goes on sending faster than that, its PONGs don't get through, and it is cut off.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any, Final

from aiohttp import WSCloseCode, WSMsgType, web
from attrs import define, field

from gatewayd import ids, tasks, wire
from gatewayd.api import connections, keys
from gatewayd.api.streaming import clients, commands
from gatewayd.errors import Rejected
from gatewayd.model.event import Chunk
from gatewayd.streams import earlier, holds, hub, subscriptions, trimming, v2

log = logging.getLogger(__name__)

INVALID_THREAD: Final = 4422
"""Close code for what HTTP would answer with 422; clients do not come back after it."""

CLOSE_S: Final = 10.0
"""Seconds that a client has to answer a close."""

NO_CHANNELS: Final = "subscription.subscribe requires a non-empty channels array."
UNSUPPORTED: Final = "subscription.subscribe received an unsupported channel."

LARGEST_COMMAND: Final = 16 << 20
"""Bytes of one frame from a client."""

WRITER_LIMIT: Final = 16 * 1024
"""Bytes after which a writer looks whether it has to wait."""

COMMANDS_PER_S: Final = 100.0
COMMANDS_BURST: Final = 100
"""Commands that a client may send at once before they are slowed down."""


async def serve(request: web.Request) -> web.StreamResponse:
    """Serve one connection until it is over."""
    settings = request.app[keys.SERVICES].settings
    socket = web.WebSocketResponse(
        heartbeat=settings.ping_s,
        max_msg_size=LARGEST_COMMAND,
        autoclose=False,
        timeout=CLOSE_S,
        compress=False,
        writer_limit=WRITER_LIMIT,
    )
    await socket.prepare(request)
    thread_id = ids.parse_uuid(request.match_info["thread_id"])
    if thread_id is None:
        await socket.close(code=INVALID_THREAD, message=b"Invalid thread ID: must be a UUID")
        return socket
    opened, group = request.app[keys.CONNECTIONS], tasks.Group("websocket")
    with clients.reader(request, thread_id) as reader:
        await _run(Session(request, socket, thread_id, reader), opened, group)
    return socket


async def _run(session: Session, opened: connections.Connections, group: tasks.Group) -> None:
    opened.add(session)
    try:
        await session.run(group)
    except connections.ClientGone:
        session.abort()
    except Exception as error:
        log.error("a WebSocket session broke: %s", error, exc_info=error)
        await session.give_up()
    finally:
        opened.remove(session)
        await group.stop()
        session.drop_unsent()


@define(eq=False)
class Pace:
    """A rate that may be exceeded by a burst."""

    per_s: float
    burst: int
    _due: float = field(default=0.0, init=False)
    """When all that has been begun would be paid for at the rate, in the loop's seconds."""

    def wait_s(self, now: float) -> float:
        """Return how many seconds the next one has to wait; it counts as begun then."""
        wait = max(0.0, self._due - now - (self.burst - 1) / self.per_s)
        self._due = max(self._due, now) + 1 / self.per_s
        return wait


@define(eq=False)
class Session:
    """One connection."""

    request: web.Request
    socket: web.WebSocketResponse
    thread_id: str
    reader: holds.Reader
    position: int | None = field(default=None, init=False)
    """Number of the last event of the log that has been dealt with; None: there is no subscription."""
    _wanted: subscriptions.Subscriptions = field(factory=subscriptions.Subscriptions, init=False)
    _ends: earlier.Ends = field(factory=earlier.Ends, init=False)
    """The ends of earlier runs that are kept back."""
    _pace: Pace = field(init=False)
    _sending: asyncio.Lock = field(factory=asyncio.Lock, init=False)
    _following: asyncio.Event = field(factory=asyncio.Event, init=False)
    _failure: BaseException | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._pace = Pace(COMMANDS_PER_S, COMMANDS_BURST)

    def abort(self) -> None:
        if (transport := self.request.transport) is not None:
            transport.abort()

    def drop_unsent(self) -> None:
        """Cut a connection that would stand until the client takes what is left."""
        transport = self.request.transport
        if transport is not None and transport.get_write_buffer_size():
            transport.abort()

    async def give_up(self) -> None:
        """Tell the client that the stream is broken, and close it."""
        answer = commands.failure(None, commands.Refused("unknown_error", "The stream broke; reconnect."))
        with contextlib.suppress(connections.ClientGone, ConnectionError, RuntimeError):
            async with self._sending:
                await self._send(wire.dumps(answer))
        await self._close(WSCloseCode.INTERNAL_ERROR, b"thread stream ended")

    async def _close(self, code: int, message: bytes = b"") -> None:
        """Close in order, but do not wait for a client that does not take what is before it."""
        try:
            async with asyncio.timeout(self._limit_s + CLOSE_S):
                await self.socket.close(code=code, message=message)
        except (TimeoutError, ConnectionError):
            self.abort()

    @property
    def _limit_s(self) -> float:
        return self.request.app[keys.SERVICES].settings.write_timeout_s

    async def run(self, group: tasks.Group) -> None:
        """Answer commands and send events until the client has left. Raises `ClientGone`."""
        pump = group.spawn(self._pump(), "pump", awaited=True)
        pump.add_done_callback(self._pump_over)
        while True:
            frame = await self.socket.receive()
            match frame.type:
                case WSMsgType.TEXT:
                    if (wait := self._pace.wait_s(asyncio.get_running_loop().time())) > 0:
                        await asyncio.sleep(wait)
                    await self._command(frame.data)
                    continue
                case WSMsgType.BINARY:
                    await self._close(WSCloseCode.UNSUPPORTED_DATA, b"text frames only")
                case WSMsgType.CLOSE:
                    await self._close(frame.data or WSCloseCode.OK)
                case WSMsgType.ERROR:  # no PONG has come, or no frame
                    self.abort()
            break
        if self._failure is not None:
            raise self._failure

    def _pump_over(self, pump: asyncio.Task[None]) -> None:
        """Nothing comes any more: the connection is not left standing."""
        if pump.cancelled():
            return
        self._failure = pump.exception()
        if isinstance(self._failure, connections.ClientGone):
            return  # it has been cut
        log.error("the events of a WebSocket broke off", exc_info=self._failure)
        self.request.app[keys.TASKS].spawn(self.give_up(), "close a broken WebSocket")

    # sending

    async def _send(self, data: bytes) -> None:
        """Send one frame; the lock must be held. Raises `ClientGone`."""
        try:
            await connections.taken(
                self.request,
                self.socket,
                lambda: self.socket.send_frame(data, WSMsgType.TEXT),
                len(data),
                self._limit_s,
            )
        except connections.ClientGone:
            self.abort()
            raise

    async def _send_events(
        self,
        chunks: list[Chunk],
        wanted: v2.EventFilter,
        through: int | None = None,
        trim: trimming.Trim | None = None,
    ) -> int:
        """Send the events that the filters let through, those up to a number only; return how many."""
        sent = 0
        for shown in v2.views(self._ends.arrange(chunks, through), wanted, trim):
            if (data := shown.encoded()) is not None:
                await self._send(data)
                sent += 1
        return sent

    async def _pump(self) -> None:
        await self._following.wait()
        assert self.position is not None
        services = self.request.app[keys.SERVICES]
        while True:
            with hub.Cursor(services.hub, self.thread_id, self.position) as cursor:
                while not cursor.detached:
                    chunks = await cursor.page()
                    if cursor.gap is not None:
                        async with self._sending:
                            gap = await services.positions.state_after_gap(self.thread_id, cursor.position)
                            if self._wanted.passes(gap):
                                await self._send(gap.encoded() or b"{}")
                            self.position = cursor.position
                    async for due in self.reader.due(chunks):
                        async with self._sending:
                            last = due[-1].last_seq
                            while due:  # what has been sent is held no longer
                                await self._send_events([due.pop(0)], self._wanted)
                            self.position = last
                async with self._sending:
                    await self._send_events(cursor.last_event(), self._wanted)
            self.position = 0  # of the thread that may be made under this id

    # commands

    async def _command(self, text: str) -> None:
        """Answer one command, also when it fails. Raises `ClientGone`."""
        with self.request.app[keys.SERVICES].holds.command(self.thread_id, self.reader.client) as carried:
            answer = await self._answer(text, carried)
            if answer is not None:
                async with self._sending:
                    await self._send(wire.dumps(answer))

    async def _answer(self, text: str, carried: holds.Command) -> dict[str, Any] | None:
        """Return the answer to one command; None if it has been answered."""
        command_id: int | str | None = None
        try:
            body = await commands.decoded(self.request, text)
            command_id = commands.given_id(body)
            commands.check_depth(text, body)
            given = commands.parsed(body)
            with commands.refusing(given.method):
                done = await self._carried_out(given, carried)
        except commands.Refused as error:
            return commands.failure(command_id, error, self.position)
        return None if done is None else commands.success(given.command_id, done)

    async def _carried_out(self, given: commands.Command, carried: holds.Command) -> commands.Done | None:
        """Carry out a command; None if it has been answered. Raises `Refused`."""
        match given.method:
            case "subscription.subscribe":
                await self._subscribe(given, None)
                return None
            case "subscription.reconnect":
                if self.position is None:
                    raise commands.Refused("no_such_run", commands.NO_RUN)
                await self._subscribe(given, subscriptions.since(given.params))
                return None
            case "subscription.unsubscribe":
                subscription_id = str(given.params.get("subscription_id"))
                if not self._wanted.remove(subscription_id):
                    raise commands.Refused(
                        "no_such_subscription", f"Unknown subscription: {subscription_id[: commands.SHOWN]}"
                    )
                self.reader.widen()
                return commands.Done(result={}, applied_through=self.position or 0)
        return await commands.carry_out(self.request, self.thread_id, given, carried)

    async def _subscribe(self, given: commands.Command, since: int | None) -> None:
        """Send what is kept, answer, and let the pump go on from there."""
        try:
            wanted = subscriptions.parse(given.params)
        except Rejected:
            named = isinstance(given.params.get("channels"), list) and given.params["channels"]
            raise commands.Refused("invalid_argument", UNSUPPORTED if named else NO_CHANNELS) from None
        self._wanted.check_room(wanted)
        services = self.request.app[keys.SERVICES]
        first = self.position is None
        if first:
            self.reader.open(wanted, placed=since is not None)
        else:
            self.reader.widen()
        async with self._sending:
            start = await services.positions.begin(self.reader, since)
            after, gap = start.after, start.gap
            if since is None:
                self._ends.again(start.ends)
            through = self.position
            if through is None:
                through = await services.positions.last(self.thread_id)
            count = 0
            if gap is not None and wanted.passes(gap):
                await self._send(gap.encoded() or b"{}")
            while after < through:
                page = await services.positions.page(self.thread_id, after)
                if not page:
                    break
                if first and (free := self.reader.free(page)) < len(page):
                    through = page[free].first_seq - 1  # the pump brings the rest
                after = page[-1].last_seq
                while page:
                    count += await self._send_events([page.pop(0)], wanted, through, start.trim)
            result = {"subscription_id": self._wanted.add(wanted), "replayed_events": count}
            done = commands.Done(result=result, applied_through=through)
            self.position = through
            await self._send(wire.dumps(commands.success(given.command_id, done)))
        self._following.set()
