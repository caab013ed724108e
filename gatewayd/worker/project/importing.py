"""The surroundings in which the project's modules are imported: those of a script.

`asyncio.run(load_tools())` at module level, `signal.signal`, `asyncio.get_event_loop()` and sqlite3 objects
work in the main thread before an event loop runs, and nowhere else. So a worker imports the project there,
and starts its own loop afterwards. What an import has done to the process's globals is undone behind it, with
a warning:

- An event loop that was left behind is closed. Nothing runs it any more, so what was opened in it would wait
  for ever.
- An event loop policy is replaced by the one of before. The worker's loop is its own, and asyncio's
  subprocesses fail in it under the policy of another library.
- Handlers of the signals that a worker ignores are removed: stopping is the daemon's business.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextvars import Context
from typing import TypeVarTuple

log = logging.getLogger(__name__)

IGNORED_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The whole group gets them when the daemon is to stop; the daemon says what the worker does."""

Ts = TypeVarTuple("Ts")


def ignore_signals() -> None:
    """Ignore what only concerns the daemon; only the main thread can."""
    for number in IGNORED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


class _ScriptLoop(asyncio.SelectorEventLoop):
    """
    The loop that `asyncio.get_event_loop()` returns during an import; it knows whether something was put into
    it.
    """

    used = False

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        self.used = True
        return super().call_soon(callback, *args, context=context)


@contextlib.contextmanager
def as_script(subject: str) -> Iterator[None]:
    """
    Import something inside this block; `subject` names it in warnings.

    Nothing is changed where a loop runs in this thread already: what is imported then sees that loop.
    """
    if _is_loop_running():
        yield
        return
    policy = asyncio.get_event_loop_policy()
    own = _ScriptLoop()
    asyncio.set_event_loop(own)
    try:
        yield
    finally:
        _restore_loop(policy, own, subject)
        if threading.current_thread() is threading.main_thread():
            _restore_signals(subject)


def _restore_loop(policy: asyncio.AbstractEventLoopPolicy, own: _ScriptLoop, subject: str) -> None:
    present = asyncio.get_event_loop_policy()
    left: set[asyncio.AbstractEventLoop] = {own} if own.used else set()
    current = _current_loop(present)
    if current is not None and current is not own:
        left.add(current)
    if present is not policy:
        log.warning(
            "%s: the event loop policy %s that its import has set is not used: workers have a loop of their own",
            subject,
            type(present).__qualname__,
        )
        asyncio.set_event_loop_policy(policy)
    asyncio.set_event_loop(None)
    for loop in {*left, own}:
        if loop.is_running() or loop.is_closed():  # running: in a thread that the project has started for it
            continue
        loop.close()
        if loop in left:
            log.warning(
                "%s: its import has left an event loop behind, which is closed: what was opened in it can't be used; "
                "asyncio.run() closes what it opens",
                subject,
            )


def _is_loop_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _current_loop(policy: asyncio.AbstractEventLoopPolicy) -> asyncio.AbstractEventLoop | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return policy.get_event_loop()
    except RuntimeError:  # none is set, as after asyncio.run()
        return None


def _restore_signals(subject: str) -> None:
    for number in IGNORED_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            log.warning(
                "%s: its handler of %s is removed: workers ignore it", subject, signal.Signals(number).name
            )
            signal.signal(number, signal.SIG_IGN)
