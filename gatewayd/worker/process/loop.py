"""The worker's event loop: asyncio's, but it does not wake itself while it is awake.

langgraph hands every custom event and every background task to its loop by `call_soon_threadsafe`, mostly
from the loop's own thread. asyncio then writes a byte into a pipe to itself each time: more than a third of
the time of a graph that streams tokens, for a loop that runs already and looks at its queue before it waits.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextvars import Context
from typing import TypeVarTuple

from gatewayd.worker.process import pacing

Ts = TypeVarTuple("Ts")


class Loop(asyncio.SelectorEventLoop):
    """A selector event loop in which `call_soon_threadsafe` costs no system call in the loop's own thread."""

    _own_thread: int | None = None
    pace: Callable[[object], None] | None = None
    """Called in another thread with what it is about to put into a queue of this loop; may hold it up."""

    def run_forever(self) -> None:
        """Run until `stop`."""
        self._own_thread = threading.get_ident()
        try:
            super().run_forever()
        finally:
            self._own_thread = None

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Schedule a callback from any thread."""
        # A handler of signal.signal runs in this thread too, perhaps while the loop waits: workers install
        # none, and what user code installs is woken by the loop's next ping (a second at most).
        if threading.get_ident() == self._own_thread:
            return self.call_soon(callback, *args, context=context)
        if self.pace is not None and args and pacing.is_put(callback):
            self.pace(args[0])
        return super().call_soon_threadsafe(callback, *args, context=context)
