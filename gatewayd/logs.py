"""Logging to stderr, as text or as JSON, of our own records and of every library's alike.

Text, one line a record, a traceback below it::

    2026-01-01T00:00:00.000Z INFO  gatewayd.runs  run ended  run_id=019b… status=success

JSON, one object a line: ``timestamp``, ``level``, ``logger``, ``event``, the fields, ``exception``.

Fields come from three places: ``extra=fields(status="success")`` at the call, any other ``extra`` of a
library or of user code, and `bind`, which gives every record of the current task or thread the ids it belongs
to. Bound fields are looked up only when a record is really written, so a level that is off costs what it
costs in the standard library; where even building the fields matters, ask `isEnabledFor`.

Text that users control can't forge a line: in messages and values control characters are escaped, and the
further lines of a message are indented.

Nor can it flood the log: each argument of a message, each field and each exception's text is cut at
`excerpts.LOGGED` bytes, a traceback at `LONGEST_TRACEBACK` characters. A traceback that was written less than
`SAME_S` seconds ago is not repeated: the record names the moment at which it was.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from functools import lru_cache
from types import TracebackType
from typing import Any, Final, TextIO

import orjson

from gatewayd.excerpts import LOGGED, excerpt

Fields = dict[str, Any]

_bound: ContextVar[Fields | None] = ContextVar("gatewayd.logs", default=None)

LEVELS = {"WARNING": "WARN", "CRITICAL": "CRIT"}
"""Names cut so that the columns of a text log stay straight."""

COLORS = {
    "DEBUG": "\x1b[2m",
    "INFO": "\x1b[32m",
    "WARNING": "\x1b[33m",
    "ERROR": "\x1b[31m",
    "CRITICAL": "\x1b[1;31m",
}
PLAIN = "\x1b[0m"

LONGEST_TRACEBACK: Final = 64_000
"""Characters of a traceback, with all the causes that it tells."""
SAME_S: Final = 60.0
"""Seconds for which a traceback that was written is only referred to."""
MOST_REMEMBERED: Final = 100
"""Tracebacks that can be referred to."""

_ESCAPED = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"} | {
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}


def fields(**values: Any) -> dict[str, Fields]:
    """
    Return the `extra` argument of a logging call: ``log.info("run ended", extra=fields(status=status))``.
    """
    return {"fields": values}


class Seldom:
    """
    What is told once a minute, however often it happens: ``if (times := seldom.times()) is not None:
    log.warning(…)``.

    The first time is told at once, and those in between with the next.
    """

    def __init__(self, interval_s: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_s = interval_s
        self._clock = clock
        self._due: float | None = None
        self._untold = 0

    def times(self) -> int | None:
        """Count one; return how many are to be told now, None if it is too early."""
        self._untold += 1
        now = self._clock()
        if self._due is not None and now < self._due:
            return None
        self._due = now + self._interval_s
        told, self._untold = self._untold, 0
        return told


class bind:  # noqa: N801  used like a function
    """
    Give all records written inside the ``with`` block these fields: ``with logs.bind(run_id=run_id): …``.

    Holds for the current task or thread and for the tasks it starts; nested blocks add up. None leaves a
    field out.
    """

    __slots__ = ("_token", "_values")

    def __init__(self, **values: Any) -> None:
        self._values = values

    def __enter__(self) -> None:
        self._token = attach(**self._values)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        detach(self._token)


def attach(**values: Any) -> Token[Fields | None]:
    """
    Do what entering `bind` does, where a ``with`` block doesn't fit; undo it with `detach` in the same
    context.
    """
    return _bound.set({**(_bound.get() or {}), **values})


def detach(token: Token[Fields | None]) -> None:
    """Restore the bound fields as they were before the `attach` that returned this token."""
    _bound.reset(token)


def bound() -> Fields:
    """Return the fields bound in this context, for handing them to another thread or process."""
    return dict(_bound.get() or {})


CHATTY = ("aiosqlite", "asyncio", "httpcore")
"""
Libraries that tell at DEBUG each statement or each byte sent; they do so only if they are named in `levels`.
"""

ATTRIBUTES = frozenset(logging.makeLogRecord({}).__dict__) | {
    "message",
    "asctime",
    "taskName",
    "fields",
    "color_message",
}
"""What every record has, and what formatters and uvicorn add; anything else came as ``extra``."""


def configure(
    level: str,
    as_json: bool,
    stream: TextIO | None = None,
    color: bool = True,
    levels: Mapping[str, str] | None = None,
) -> None:
    """
    Send the records of all loggers from this level on to the stream (default: stderr as it is now).

    `levels` are those of single loggers, by name. May be called again; the last call holds. Handlers that
    others have put on the root logger stay. Colours are used in text on a terminal only.
    """
    stream = sys.stderr if stream is None else stream
    for name in CHATTY:
        logging.getLogger(name).setLevel(max(logging.INFO, logging.getLevelNamesMapping()[level]))
    for name, own in (levels or {}).items():
        logging.getLogger(name).setLevel(own)
    handler = _Handler(stream)
    handler.setFormatter(JsonFormatter() if as_json else TextFormatter(color=color and stream.isatty()))
    root = logging.getLogger()
    for old in [handler for handler in root.handlers if isinstance(handler, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    for name in APART:
        logger = logging.getLogger(name)
        logger.propagate = False
        logger.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)


class Whole(str):
    """A text of our own making that is not cut: the stack of a thread, say."""

    __slots__ = ()


APART = ("gatewayd.stdout", "gatewayd.stderr")
"""
Loggers of what is printed. They are told by our handler alone: one of user code's may write to the very
stream.
"""


class _Handler(logging.StreamHandler[TextIO]):
    """Ours, so that a second `configure` finds the first one's."""


class TextFormatter(logging.Formatter):
    """Formats a record as a line for people, and for grep."""

    def __init__(self, *, color: bool = False) -> None:
        super().__init__()
        self._color = color
        self._tracebacks = _Tracebacks()

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its newline; a traceback follows on lines of its own."""
        level = f"{LEVELS.get(record.levelname, record.levelname):<5}"
        if self._color:
            level = f"{COLORS.get(record.levelname, '')}{level}{PLAIN}"
        message = _one_paragraph(_message(record))
        values = " ".join(f"{_word(name)}={_word(value)}" for name, value in _fields_of(record).items())
        line = f"{_timestamp(record)} {level} {record.name}  {message}{'  ' if values else ''}{values}"
        return "\n".join([line, *(_one_paragraph(part) for part in self._tracebacks.of(record).values())])


class JsonFormatter(logging.Formatter):
    """Formats a record as a JSON object, for journald and log collectors."""

    def __init__(self) -> None:
        super().__init__()
        self._tracebacks = _Tracebacks()

    def format(self, record: logging.LogRecord) -> str:
        """Return the object on one line, without its newline; a field can't replace what every record has."""
        head = {
            "timestamp": _timestamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": _message(record),
        }
        line = {**head, **_fields_of(record), **head, **self._tracebacks.of(record)}
        try:
            return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
        except TypeError:  # lone surrogates, integers beyond 64 bits: rare, and no reason to lose a record
            return json.dumps(line, default=str)


def _fields_of(record: logging.LogRecord) -> Fields:
    """Return the record's own fields after the bound ones; an own field wins over a bound one of its name."""
    own = getattr(record, "fields", None)
    outer = _bound.get()
    extra = {name: value for name, value in record.__dict__.items() if name not in ATTRIBUTES}
    if not (outer or own or extra):
        return {}
    merged = {**(outer or {}), **extra, **(own if isinstance(own, dict) else {})}
    return {
        name: excerpt(value, LOGGED) if isinstance(value, str) else value
        for name, value in merged.items()
        if value is not None
    }


def _message(record: logging.LogRecord) -> str:
    """Return a record's message; if it is long, what was put into it is cut."""
    message = record.getMessage()
    if len(message) * 4 <= LOGGED:
        return message
    match record.args:
        case (_, *_):
            message = str(record.msg) % tuple(map(_short, record.args))
        case Mapping():
            message = str(record.msg) % {name: _short(value) for name, value in record.args.items()}
    return excerpt(message, LONGEST_TRACEBACK)


def _short(value: Any) -> Any:
    """Return a value as a message has it, cut if its text is long; numbers stay what they are."""
    if value is None or isinstance(value, Whole | int | float):
        return value
    text = str(value)
    return value if len(text) * 4 <= LOGGED else excerpt(text, LOGGED)


_ExceptionInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class _Tracebacks:
    """The tracebacks of records, each written once in a while."""

    def __init__(self) -> None:
        self._written: OrderedDict[str, tuple[float, str]] = OrderedDict()
        """When each was written, as a number and as the log tells it; the earliest first."""

    def of(self, record: logging.LogRecord) -> dict[str, str]:
        """
        Return what follows a record: its exception's traceback, and the stack that it was asked to tell.
        """
        found = {}
        if record.exc_info and record.exc_info[0] is not None:
            found["exception"] = self._once(_traceback(record.exc_info), record)
        elif record.exc_text:
            found["exception"] = self._once(excerpt(record.exc_text, LONGEST_TRACEBACK), record)
        if record.stack_info:
            found["stack"] = record.stack_info
        return found

    def _once(self, text: str, record: logging.LogRecord) -> str:
        """Return a traceback, or where it is if it was written lately."""
        written, stamp = self._written.get(text, (float("-inf"), ""))
        if 0 <= record.created - written < SAME_S:
            return f"(the same traceback as at {stamp})"
        self._written.pop(text, None)
        self._written[text] = record.created, _timestamp(record)
        if len(self._written) > MOST_REMEMBERED:
            self._written.popitem(last=False)
        return text


def _traceback(info: _ExceptionInfo) -> str:
    """Return an exception's traceback; the text of each exception that it tells is cut."""
    text = "\n".join(excerpt(line.rstrip("\n"), LOGGED) for line in traceback.format_exception(*info))
    if len(text) <= LONGEST_TRACEBACK:
        return text
    half = LONGEST_TRACEBACK // 2  # the first lines say where it began, the last ones what happened
    return f"{text[:half]}\n… [cut, {len(text)} characters in all]\n{text[-half:]}"


def _timestamp(record: logging.LogRecord) -> str:
    return f"{_second(int(record.created))}.{int(record.msecs):03}Z"


@lru_cache(maxsize=4)
def _second(created: int) -> str:
    """Return a second of the clock; most records of a busy server are of the one before them."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(created))


def _one_paragraph(text: str) -> str:
    """Return a text that can't be taken for several records."""
    return text if text.isprintable() else text.translate(_ESCAPED).replace("\n", "\n    ")


_NEEDS_QUOTES: Final = re.compile('[ "=]')


def _word(value: Any) -> str:
    """Return a value as one word: as it is if it has no blanks or quotes, else quoted."""
    text = value if isinstance(value, str) else str(value)
    if text and text.isprintable() and _NEEDS_QUOTES.search(text) is None:
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').translate(_ESCAPED).replace("\n", "\\n") + '"'
