"""A run's way out: its events and checkpoint operations, put into order, into frames, and within the window.

Order
    langgraph calls the saver before the consumer of ``astream`` has been given the events of the same step.
    So an operation is *held* until those events have been taken: until `HOLD_PASSES` passes of the event loop
    have gone by while the consumer waits for the graph (an event that was emitted wakes the consumer within
    four), or until the graph has ended. It is not released while the graph is leaving its loop, when events
    lie ready that are handed out only afterwards (`leaving`). When somebody waits for its commit, it can't be
    held until the consumer's turn comes, for that may come only after the commit: what the graph has emitted
    so far is then taken at once (`drain`).

Window
    Bytes that were sent and not acknowledged are limited; what is beyond stays here and goes out as
    acknowledgements come. The consumer asks `congested` at each step and waits in `wait_for_window`. What a
    step emits meanwhile is kept up to the backlog's limit; beyond it `emit` raises `BacklogExceeded`. Threads
    of synchronous nodes don't get so far: they are made to wait before (`pacing`).

Waiting
    `committed` and `committed_blocking` return when every operation sent before the call has been committed.
    Both release what is held: a reader that waits for the graph which waits for the reader would wait for
    ever. The blocking one works in the loop's own thread too; acknowledgements arrive in the reader thread.
    Of events that are themselves still on their way through the loop (langgraph sends custom ones that way)
    it can know nothing while it stands still: only a graph invoked synchronously by an asynchronous node
    brings that about.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from gatewayd.channel import frames
from gatewayd.checkpointing import commands
from gatewayd.errors import GatewaydError
from gatewayd.model import event
from gatewayd.model.event import Emitted
from gatewayd.model.state import Cut
from gatewayd.worker.process import link
from gatewayd.worker.states import checkpoints

HOLD_PASSES = 8
"""Passes of the loop an operation is held; measured: an emitted event reaches the consumer within four."""

EVENTS_FRAME_BYTES = 96 * 1024
"""Events are packed into frames of about this size; readers of streams hold one at least."""

ITEM_OVERHEAD = 48
"""Bytes counted for an event beside its data."""


def _weight(item: Emitted) -> int:
    """Return the bytes that an event takes here."""
    data = item[3]
    if isinstance(data, Cut):
        return len(data.manifest) + sum(len(blob[2]) + ITEM_OVERHEAD for blob in data.blobs) + ITEM_OVERHEAD
    return len(data) + ITEM_OVERHEAD


class BacklogExceeded(GatewaydError):
    """A single step emitted more than is kept for it."""


class Outbox:
    """
    The outbox of one run in one attempt. Made and used in the event loop, except where a method says
    otherwise.
    """

    def __init__(self, channel: link.Link, run_id: str, attempt: int, *, window: int, backlog: int) -> None:
        self.leaving: Callable[[], bool] = lambda: False
        """Whether the graph is leaving its loop with events that have not been handed out yet."""
        self.drain: Callable[[], None] = lambda: None
        """Emits what the graph has emitted and not handed out yet; called in the event loop."""
        self.consuming = False
        """Whether the consumer waits for the graph (and not for room)."""
        self._link = channel
        self._run_id, self._attempt = run_id, attempt
        self._window, self._limit = window, backlog
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._changed = threading.Condition()
        self._held: deque[commands.Operation] = deque()
        self._out: deque[Emitted | commands.Operation | dict[str, Any]] = deque()
        self._backlog = 0
        self._n = 0
        self._flight: deque[tuple[int, int, int]] = deque()
        """Frames under way: number, size, operations framed up to it."""
        self._unacked = 0
        self._sent = self._framed = self._acked = 0
        """Operations handed over by the saver, put into frames, and committed."""
        self._flushing = False
        self._releasing = 0
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._window_open: asyncio.Future[None] | None = None
        self._error: str | None = None
        self._unpaced = False
        self._done: asyncio.Future[None] = self._loop.create_future()

    # events

    def emit(self, item: Emitted) -> None:
        """
        Queue an event; another thread than the loop's own waits for room before. Raises `BacklogExceeded`.
        """
        size = _weight(item)
        if threading.get_ident() != self._loop_thread:
            self.stored_blocking(self._limit // 2)
        with self._changed:
            self._out.append(item)
            self._backlog += size
        if self._backlog > self._limit and threading.get_ident() == self._loop_thread:
            raise BacklogExceeded(
                f"one step emitted more than {self._limit} bytes of events faster than they could be stored"
            )
        self._flush_soon()

    @property
    def failed(self) -> bool:
        """Whether something of the run was refused."""
        return self._error is not None

    @property
    def congested(self) -> bool:
        """Whether the window is full and something waits for it."""
        return bool(self._out) and self._unacked >= self._window

    async def wait_for_window(self) -> None:
        """Wait until everything queued has gone out."""
        while self.congested and self._error is None:
            self._window_open = self._loop.create_future()
            await self._window_open

    def stored_blocking(self, most: int) -> bool:
        """
        Wait, in a thread of the run, until the backlog is at most `most` bytes and the consumer consumes.

        False if that took a wait. After `let_threads_go` nobody waits.
        """
        waited = False
        while True:
            self.flush()  # the loop may not turn
            with self._changed:
                behind = self._backlog > most or self._window_open is not None
                if not behind or self._unpaced or self._error is not None:
                    return not waited
                self._changed.wait(0.5)
                waited = True

    def let_threads_go(self) -> None:
        """Have no thread of the run wait for room any more: its events are not consumed from now on."""
        with self._changed:
            self._unpaced = True
            self._changed.notify_all()

    # the saver's operations (checkpoints.Sink)

    def send(self, operation: commands.Operation) -> None:
        """Queue an operation behind the events emitted so far; from any thread."""
        self._check()
        with self._changed:
            self._held.append(operation)
            self._sent += 1
            begin = not self._releasing
            self._releasing = max(1, self._releasing)
        if begin:
            self._soon(self._release_after, HOLD_PASSES, self._sent)

    async def committed(self) -> None:
        """Wait until everything sent before is committed."""
        target = self._sent
        for _ in range(HOLD_PASSES):  # give the consumer the chance to take what was emitted before
            if not self._held:
                break
            await asyncio.sleep(0)
        self._release_drained(target)
        self.flush()
        with self._changed:
            self._check()
            if self._acked >= target:
                return
            future: asyncio.Future[None] = self._loop.create_future()
            self._waiting.append((target, future))
        await future
        self._check()

    def committed_blocking(self) -> None:
        """The same from any thread, the loop's own included."""
        target = self._sent
        if threading.get_ident() == self._loop_thread:
            self._release_drained(target)
        else:
            self._soon(self._release_drained_after, HOLD_PASSES, target)
        while True:
            if threading.get_ident() == self._loop_thread:
                self.flush()  # nobody else can: the loop stands still
            with self._changed:
                self._check()
                if self._acked >= target:
                    return
                self._changed.wait(0.5)

    def _check(self) -> None:
        if self._error is not None:
            raise checkpoints.SinkFailed(self._error)

    # holding

    def _release_after(self, hops: int, target: int) -> None:
        """One pass of the loop has gone by for the operations up to `target`."""
        if hops:
            self._loop.call_soon(self._release_after, hops - 1, target)
            return
        if self.consuming and not self.leaving():
            self._release(target)
        with self._changed:
            self._releasing = 1 if self._held else 0
        if self._releasing and self.consuming and not self.leaving():
            self._loop.call_soon(self._release_after, HOLD_PASSES, self._sent)
        else:
            self._releasing = 0

    def resume_releasing(self) -> None:
        """The consumer waits for the graph again: what is still held may go soon."""
        if self._held and not self._releasing:
            self._releasing = 1
            self._loop.call_soon(self._release_after, HOLD_PASSES, self._sent)

    def _release_drained_after(self, hops: int, target: int) -> None:
        if hops:
            self._loop.call_soon(self._release_drained_after, hops - 1, target)
        else:
            self._release_drained(target)

    def _release_drained(self, target: int) -> None:
        """
        Somebody waits for the commit of what is held: have the events before it taken now, and let it go.
        """
        try:
            if self._held:
                self.drain()
        finally:
            self._release(target)

    def _release(self, target: int) -> None:
        """Let the operations up to `target` go behind the events queued so far; from any thread."""
        with self._changed:
            surplus = self._sent - target
            while len(self._held) > surplus:
                operation = self._held.popleft()
                self._out.append(operation)
        self._flush_soon()

    # the end

    async def end(self, outcome: dict[str, Any]) -> None:
        """
        Send what is left and the last frame; returns when it has gone out, also if its task is cancelled
        meanwhile.
        """
        self._release(self._sent)
        with self._changed:
            self._out.append(outcome)
        self.flush()
        while not self._done.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([self._done])

    # sending

    def _soon(self, call: Callable[..., None], *args: Any) -> None:
        if threading.get_ident() == self._loop_thread:
            self._loop.call_soon(call, *args)
        else:
            self._loop.call_soon_threadsafe(call, *args)

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._soon(self.flush)

    def flush(self) -> None:
        """Put into frames what the window allows, and send it; from any thread."""
        with self._changed:
            self._flushing = False
            while self._out and (self._open or isinstance(self._out[0], dict)):
                head = self._out[0]
                if isinstance(head, tuple):
                    self._frame_events()
                elif isinstance(head, list):
                    self._out.popleft()
                    self._framed += 1
                    self._frame("checkpoint", head)
                else:
                    self._out.popleft()
                    if "blobs" in head:
                        head["blobs"] = self._portions(head["blobs"])
                    self._frame("ended", head)
                    if not self._done.done():
                        self._soon(self._finished)
        self._link.flush()

    @property
    def _open(self) -> bool:
        """
        Whether the window lets more out; after a refusal nothing is held back: acknowledgements may never
        come.
        """
        return self._unacked < self._window or self._error is not None

    def _finished(self) -> None:
        if not self._done.done():
            self._done.set_result(None)

    def _frame_events(self) -> None:
        items: list[tuple[str, str, int, Any]] = []
        parts: list[tuple[bytes, int]] = []
        blobs: list[Sequence[Any]] = []
        size = 0  # of the frame when its states are joined: readers take frames as they are
        while self._out and isinstance(self._out[0], tuple) and size < EVENTS_FRAME_BYTES:
            item = self._out.popleft()
            assert isinstance(item, tuple)
            self._backlog -= _weight(item)
            kind, namespace, mask, data = item
            if isinstance(data, Cut):
                size += data.size
                blobs += data.blobs
                parts.append((data.manifest, data.size))
                items.append((kind, namespace, mask, len(parts) - 1))
            else:
                size += len(data) + ITEM_OVERHEAD
                items.append((kind, namespace, mask, data))
        packed = event.pack(items)
        if parts:
            self._frame("events", len(items), packed, parts, self._portions(blobs))
        else:
            self._frame("events", len(items), packed)

    def _portions(self, blobs: list[Sequence[Any]]) -> list[Sequence[Any]]:
        """Send ahead what are too many blobs for a frame; return the rest."""
        while len(blobs) > commands.PORTION:
            self._frame("parts", blobs[: commands.PORTION])
            blobs = blobs[commands.PORTION :]
        return blobs

    def _frame(self, name: str, *content: Any) -> None:
        self._n += 1
        packed = frames.pack(name, self._run_id, self._attempt, self._n, *content)
        self._flight.append((self._n, len(packed), self._framed))
        self._unacked += len(packed)
        self._link.queue(packed)

    # what comes back, in the reader thread

    def acknowledged(self, n: int) -> None:
        """Frames up to `n` are committed."""
        with self._changed:
            while self._flight and self._flight[0][0] <= n:
                _, size, framed = self._flight.popleft()
                self._unacked -= size
                self._acked = framed
            self._changed.notify_all()
            wake = bool(self._out or self._waiting or self._window_open)
        if wake:
            self._wake()

    def refused(self, why: str) -> None:
        """A frame was not stored: the run fails at its next saver call."""
        with self._changed:
            self._error = why
            self._changed.notify_all()
        self._wake()

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._woken)
        except RuntimeError:  # the loop is closed: the process is ending
            pass

    def _woken(self) -> None:
        if self._error is not None:
            self._finished()
        if self._out:
            self.flush()
        with self._changed:
            ready = [future for target, future in self._waiting if self._acked >= target or self._error]
            self._waiting = [entry for entry in self._waiting if entry[1] not in ready]
        for future in ready:
            if not future.done():
                future.set_result(None)
        if (
            self._window_open is not None
            and not self._window_open.done()
            and (not self.congested or self._error)
        ):
            self._window_open.set_result(None)
            with self._changed:
                self._window_open = None
                self._changed.notify_all()
