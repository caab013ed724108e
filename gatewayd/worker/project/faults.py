"""What clients are told of an exception: ``{"error": class name, "message": text}``.

The message of an exception that people raise to be read (ValueError and its like) is shown; that of anything
else could hold paths, addresses or secrets and is masked, as in the reference. ``GATEWAYD_ERROR_DETAIL=full``
shows everything. What is longer than `excerpts.STORED` is cut, wherever it goes: to clients, into events or
rows.
"""

from __future__ import annotations

import traceback
from typing import Any, ClassVar

from langgraph.errors import (
    EmptyInputError,
    GraphRecursionError,
    InvalidUpdateError,
    UnknownInterruptError,
)

from gatewayd import excerpts
from gatewayd.errors import GatewaydError

MASKED = "An internal error occurred"


class Renamed(Exception):
    """An error of our own that clients see, with its message, under the name the reference has for it."""

    wire_name: ClassVar[str]


_SHOWN = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RuntimeError,
    TimeoutError,
    InvalidUpdateError,
    EmptyInputError,
    GraphRecursionError,
    UnknownInterruptError,
    GatewaydError,
    Renamed,
)


def describe(exc: BaseException, *, full: bool = False) -> dict[str, str]:
    """Return ``{"error", "message"}``; a group speaks through its first member; `full` masks nothing."""
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    name = exc.wire_name if isinstance(exc, Renamed) else type(exc).__name__
    return {"error": name, "message": text(exc) if full or isinstance(exc, _SHOWN) else MASKED}


def refusal(exc: BaseException, *, full: bool = False) -> str:
    """
    Return why a graph has refused: its sentence, or that of the policy on masking behind the error's name.
    """
    fault = describe(exc, full=full)
    if isinstance(exc, ValueError | InvalidUpdateError) and fault["message"]:
        return fault["message"]
    return f"{fault['error']}: {fault['message']}"


def text(exc: BaseException) -> str:
    """
    Return the exception's text, as it can be sent and stored: a lone surrogate is "?", a NUL U+FFFD, a long
    one cut.

    A `__str__` that itself fails must not replace the error it belongs to.
    """
    try:
        found = str(exc)
    except Exception as error:
        return f"(its message can't be read: {type(error).__name__})"
    return short(found).encode("utf-8", "replace").decode().replace("\x00", "\ufffd")


def trace(exc: BaseException) -> str:
    """
    Return the exception's full text and traceback; of a long one the end, where the exception itself is.
    """
    try:
        found = "".join(traceback.format_exception(exc))
    except Exception as error:
        return f"(its traceback can't be read: {type(error).__name__})"
    found = found.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
    if len(found) <= excerpts.STORED:
        return found
    return f"[cut, {len(found)} characters in all] …{found[-excerpts.STORED :]}"


def short(text: str) -> str:
    """Return the text of an exception, cut if it is long."""
    return excerpts.excerpt(text, excerpts.STORED)


def stored(error: Any) -> Any:
    """
    Return what is stored as the error of a task: the exception, or its cut text if that is long.

    langgraph's serialiser stores the `repr` of an exception, so that is what is cut.
    """
    if not isinstance(error, BaseException):
        return error
    try:
        shown = repr(error)
    except Exception:  # the serialiser meets it, too, and tells
        return error
    cut = short(shown)
    return error if cut is shown else cut
