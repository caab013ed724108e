"""What user code prints becomes records, at once and by run."""

from __future__ import annotations

import contextvars
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gatewayd.worker.process import prints, threads

LOGGER = logging.getLogger("gatewayd.stdout")


class Kept(logging.Handler):
    """Keeps the messages of a logger."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@pytest.fixture
def kept() -> Iterator[Kept]:
    """What the logger of printed lines was told."""
    handler = Kept()
    handlers, level, propagate = list(LOGGER.handlers), LOGGER.level, LOGGER.propagate
    LOGGER.handlers[:], LOGGER.propagate = [handler], False
    LOGGER.setLevel(logging.INFO)
    yield handler
    LOGGER.handlers[:], LOGGER.propagate = handlers, propagate
    LOGGER.setLevel(level)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """The file behind the stream."""
    return tmp_path / "raw"


@pytest.fixture
def lines(kept: Kept, raw: Path) -> Iterator[prints.Lines]:
    descriptor = os.open(raw, os.O_CREAT | os.O_WRONLY)
    yield prints.Lines(descriptor, LOGGER, logging.INFO)
    os.close(descriptor)


def in_run(run_id: str, *texts: str, to: prints.Lines) -> None:
    """Write in a thread that works for a run."""

    def write() -> None:
        threads.CURRENT.set(run_id)
        for text in texts:
            to.write(text)

    thread = threading.Thread(target=lambda: contextvars.copy_context().run(write))
    thread.start()
    thread.join()


def test_each_line_is_a_record_as_soon_as_it_has_ended(lines: prints.Lines, kept: Kept) -> None:
    print("one", end="", file=lines)
    assert kept.messages == []
    print(" line", 2, file=lines)
    assert kept.messages == ["one line 2"]
    print("a\nb\n\nc", file=lines)
    assert kept.messages == ["one line 2", "a", "b", "c"]


def test_a_line_that_is_flushed_before_its_end_is_told_then(lines: prints.Lines, kept: Kept) -> None:
    print("tok", end="", flush=True, file=lines)
    assert kept.messages == ["tok"]
    lines.write("x" * (prints.LONGEST + 1))
    assert len(kept.messages) == 2


def test_lines_of_runs_that_print_at_the_same_time_do_not_mix(lines: prints.Lines, kept: Kept) -> None:
    def one() -> None:
        threads.CURRENT.set("a")
        lines.write("begun by a, ")
        contextvars.Context().run(other)
        lines.write("ended by a\n")

    def other() -> None:
        threads.CURRENT.set("b")
        lines.write("b's own\nrest of b")

    contextvars.Context().run(one)
    assert kept.messages == ["b's own", "begun by a, ended by a"]
    lines.flush_run("b")
    assert kept.messages[2:] == ["rest of b"]


def test_what_has_begun_is_told_when_the_process_ends(lines: prints.Lines, kept: Kept) -> None:
    in_run("a", "half of a", to=lines)
    lines.write("half of nobody's")
    lines.flush_run(None)
    assert sorted(kept.messages) == ["half of a", "half of nobody's"]
    lines.flush_run(None)
    assert len(kept.messages) == 2


def test_a_progress_bar_shows_its_last_state(lines: prints.Lines, kept: Kept) -> None:
    lines.write("\r10%\r50%\r100%\r\n")
    assert kept.messages == ["100%"]


def test_a_handler_that_writes_to_the_stream_itself_does_not_call_itself(
    lines: prints.Lines, kept: Kept, raw: Path
) -> None:
    LOGGER.addHandler(logging.StreamHandler(lines))
    print("said", file=lines)
    assert kept.messages == ["said"]
    assert raw.read_text() == "said\n"


def test_bytes_go_to_the_file_as_they_are(lines: prints.Lines, kept: Kept, raw: Path) -> None:
    lines.buffer.write(b"\xff\x00")
    assert raw.read_bytes() == b"\xff\x00"
    assert kept.messages == []


def test_only_texts_can_be_written(lines: prints.Lines) -> None:
    with pytest.raises(TypeError, match="must be str, not bytes"):
        lines.write(b"x")  # type: ignore[arg-type]
