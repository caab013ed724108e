"""
The worker's side of the two sockets: a reader thread, and sending from whichever thread has something to
send.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from gatewayd.channel import frames

READ_BYTES = 256 * 1024

OnFrame = Callable[[list[Any]], None]


class Link:
    """
    Both sockets. `on_control` and `on_data` are called in the reader thread.

    So is `on_end`, once: with None when the daemon has closed a socket, else with the error that has ended
    the thread. An error that ends the sender thread is reported the same way.
    """

    def __init__(
        self,
        control: socket.socket,
        data: socket.socket,
        *,
        on_control: OnFrame,
        on_data: OnFrame,
        on_end: Callable[[Exception | None], None],
    ) -> None:
        control.setblocking(True)
        data.setblocking(True)
        self._sockets = {control: on_control, data: on_data}
        self._control, self._data = control, data
        self._on_end = on_end
        self._control_lock = threading.Lock()
        self._queue: deque[bytes] = deque()
        self._sending = threading.Condition()
        self._rest: bytes | memoryview = b""
        """
        What the socket did not take at once; the sender thread has it, and everybody else queues behind it.
        """
        self._closed = False

    def start(self) -> None:
        """Start the reader and the sender thread."""
        threading.Thread(target=self._read, name="channel reader", daemon=True).start()
        threading.Thread(target=self._send, name="channel sender", daemon=True).start()

    def control(self, *frame: Any) -> None:
        """Send a frame on control, from any thread."""
        packed = frames.pack(*frame)
        with self._control_lock, contextlib.suppress(OSError):
            self._control.sendall(packed)

    def queue(self, packed: bytes) -> None:
        """Queue a packed frame for data; it goes with the next `flush`."""
        with self._sending:
            self._queue.append(packed)

    def flush(self) -> None:
        """
        Send what is queued, in one call; never waits: what the socket does not take the sender thread gets.
        """
        with self._sending:
            if self._rest or not self._queue:
                return
            data = b"".join(self._queue)
            self._queue.clear()
            try:
                sent = self._data.send(data, socket.MSG_DONTWAIT)
            except BlockingIOError:
                sent = 0
            except OSError:
                return  # the daemon is gone; the reader ends the process
            if sent < len(data):
                self._rest = memoryview(data)[sent:]
                self._sending.notify()

    def _send(self) -> None:
        try:
            self._send_rest()
        except OSError:
            pass  # the daemon is gone; the reader ends the process
        except Exception as error:
            self._on_end(error)

    def _send_rest(self) -> None:
        while True:
            with self._sending:
                while not self._rest:
                    if self._closed:
                        return
                    self._sending.wait()
                rest = self._rest
            self._data.sendall(rest)
            with self._sending:
                self._rest = b"".join(self._queue)
                self._queue.clear()

    def _read(self) -> None:
        failure: Exception | None = None
        try:
            self._read_frames()
        except Exception as error:
            failure = error
        self._on_end(failure)

    def _read_frames(self) -> None:
        splitters = {each: frames.Splitter() for each in self._sockets}
        while (received := self._received()) is not None:
            for each, data in received:
                for frame, _ in splitters[each].feed(data):
                    self._sockets[each](frame)

    def _received(self) -> list[tuple[socket.socket, bytes]] | None:
        """Wait for bytes and return those of each socket; None when one has ended."""
        try:
            readable, _, _ = select.select(list(self._sockets), [], [])
            received = [(each, each.recv(READ_BYTES)) for each in readable]
        except (OSError, ValueError):  # the daemon is gone, or `close` was called
            return None
        return received if all(data for _, data in received) else None

    def close(self) -> None:
        """Close both sockets; the threads end."""
        with self._sending:
            self._closed = True
            self._sending.notify_all()
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
