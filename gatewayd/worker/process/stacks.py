"""Where a thread is: for the log when the event loop does not turn."""

from __future__ import annotations

import asyncio
import sys
import sysconfig
import traceback
from contextvars import Context
from pathlib import Path

import gatewayd
from gatewayd.worker.process import threads

PACKAGE = str(Path(gatewayd.__file__).resolve().parent)
LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
DEEPEST = 25
"""Frames that are logged, the innermost ones."""


def of_thread(thread_id: int) -> tuple[str, str]:
    """
    Return the innermost place in user code, as ``file:line in function``, and the end of the whole stack.
    """
    frame = sys._current_frames().get(thread_id)
    if frame is None:
        return "?", ""
    stack = traceback.extract_stack(frame)
    ours = [entry for entry in stack if is_users(entry.filename)]
    place = (ours or stack)[-1]
    text = "".join(traceback.format_list(stack[-DEEPEST:]))
    return f"{place.filename}:{place.lineno} in {place.name}", text.rstrip()


def run_in(thread_id: int) -> str:
    """
    Return the run whose task or callback the thread's event loop is in; '' if it is in none, or in no loop.
    """
    frame = sys._current_frames().get(thread_id)
    while frame is not None:
        if frame.f_code is asyncio.Handle._run.__code__:
            context: Context = frame.f_locals["self"]._context
            return context.get(threads.CURRENT) or ""
        frame = frame.f_back
    return ""


def is_users(filename: str) -> bool:
    """Whether a file is the project's: neither ours nor of an installed library."""
    path = str(Path(filename).absolute())
    in_library = any(path.startswith(library) for library in LIBRARIES) or "site-packages" in path
    return not filename.startswith("<") and not in_library and not path.startswith(PACKAGE)
