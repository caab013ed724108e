"""What user code prints, as records of the log: at once, with the ids of the run that printed it.

A line of `sys.stdout` is a record of the logger ``gatewayd.stdout`` (INFO), one of `sys.stderr` of
``gatewayd.stderr`` (WARNING). A line that has begun is kept apart by thread and run until it ends, is flushed
or is long, so that runs which print at the same time do not mix. What was printed before the process dies is
in the log: nothing is buffered behind the record. Bytes written to ``sys.stdout.buffer``, and what child
processes and C code write, reach the log's stream as they are.
"""

from __future__ import annotations

import io
import logging
import sys
import threading
from typing import Any, Final

from gatewayd.worker.process import threads

LONGEST: Final = 16_384
"""Characters after which a line is told although it has not ended."""

STREAMS: Final = (("stdout", 1, logging.INFO), ("stderr", 2, logging.WARNING))


def capture() -> None:
    """Make records of what is printed from now on; the log's handlers must have their stream already."""
    for name, descriptor, level in STREAMS:
        setattr(sys, name, Lines(descriptor, logging.getLogger(f"gatewayd.{name}"), level))


class Lines(io.TextIOWrapper):
    """A text stream whose lines become records of a logger."""

    def __init__(self, descriptor: int, logger: logging.Logger, level: int) -> None:
        # As `python -u` makes it: nothing is buffered between this stream and the file. Its type knows
        # buffers only.
        raw: Any = io.FileIO(descriptor, "wb", closefd=False)
        super().__init__(raw, encoding="utf-8", errors="backslashreplace", write_through=True)
        self._logger, self._level = logger, level
        self._begun: dict[tuple[int, str], str] = {}
        self._lock = threading.Lock()
        self._telling = threading.local()

    def write(self, text: str, /) -> int:
        """Tell the lines that have ended; keep the beginning of the next."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if getattr(self._telling, "active", False):  # a handler of the project's writes here
            return super().write(text)
        key = (threading.get_ident(), threads.CURRENT.get())
        with self._lock:
            *ended, rest = (self._begun.pop(key, "") + text).split("\n")
            if len(rest) > LONGEST:
                ended.append(rest)
                rest = ""
            if rest:
                self._begun[key] = rest
        for line in ended:
            self._tell(line)
        return len(text)

    def flush(self) -> None:
        """Tell a line that has begun."""
        with self._lock:
            rest = self._begun.pop((threading.get_ident(), threads.CURRENT.get()), "")
        if rest:
            self._tell(rest)

    def flush_run(self, run_id: str | None) -> None:
        """Tell every line that has begun, of one run or of all."""
        with self._lock:
            begun = {key: rest for key, rest in self._begun.items() if run_id is None or key[1] == run_id}
            for key in begun:
                del self._begun[key]
        for rest in begun.values():
            self._tell(rest)

    def _tell(self, line: str) -> None:
        line = line.rstrip("\r").rpartition("\r")[2]  # the last state of a progress bar
        if not line.strip():
            return
        self._telling.active = True
        try:
            self._logger.log(self._level, "%s", line)
        finally:
            self._telling.active = False


def flush(run_id: str | None = None) -> None:
    """Tell what has been printed without a newline, by a run that ends, or by all when the process does."""
    for name, _, _ in STREAMS:
        stream = getattr(sys, name)
        if isinstance(stream, Lines):
            stream.flush_run(run_id)
