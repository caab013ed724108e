"""The worker's end of the channel: its threads tell what has ended them."""

from __future__ import annotations

import queue
import socket
from typing import Any

import pytest

from gatewayd.channel import frames
from gatewayd.worker.process import link

SOON_S = 60


class Ends:
    """A link, the daemon's ends of its sockets, and what was reported of its end."""

    def __init__(self, **handlers: Any) -> None:
        (self.control, control), (self.data, data) = socket.socketpair(), socket.socketpair()
        self.heard: queue.Queue[list[Any]] = queue.Queue()
        self.ended: queue.Queue[Exception | None] = queue.Queue()
        taking = {"on_control": self.heard.put, "on_data": self.heard.put, **handlers}
        self.link = link.Link(control, data, on_end=self.ended.put, **taking)
        self.link.start()

    def end(self) -> Exception | None:
        """Return what has ended a thread."""
        return self.ended.get(timeout=SOON_S)

    def close(self) -> None:
        self.control.close()
        self.data.close()
        self.link.close()


@pytest.mark.parametrize("name", ["control", "data"])
def test_the_end_of_either_socket_is_the_daemons_end_and_no_error(name: str) -> None:
    ends = Ends()
    getattr(ends, name).close()
    assert ends.end() is None
    ends.close()


def fails(frame: list[Any]) -> None:
    raise LookupError(f"nobody wants {frame[0]}")


@pytest.mark.parametrize("name", ["control", "data"])
def test_an_error_in_the_reader_thread_is_reported_with_its_trace(name: str) -> None:
    ends = Ends(**{f"on_{name}": fails})
    getattr(ends, name).sendall(frames.pack("surprise"))
    error = ends.end()
    assert isinstance(error, LookupError)
    assert error.__traceback__ is not None
    assert "nobody wants surprise" in str(error)
    ends.close()


def test_bytes_that_are_no_frames_are_reported() -> None:
    ends = Ends()
    ends.control.sendall(b"\xff" * 8)
    assert isinstance(ends.end(), frames.Broken)
    ends.close()


def test_frames_before_the_one_that_fails_are_taken() -> None:
    ends = Ends(on_data=fails)
    ends.control.sendall(frames.pack("ping", 1))
    assert ends.heard.get(timeout=SOON_S) == ["ping", 1]
    ends.data.sendall(frames.pack("ack"))
    assert isinstance(ends.end(), LookupError)
    ends.close()
