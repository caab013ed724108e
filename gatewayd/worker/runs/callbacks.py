"""langchain's events of a run (stream mode ``events``): a callback handler beside the graph's own stream.

`astream_events` executes the graph for its events alone and hands out everything else inside of them, a task
and two queues later. Here the graph is executed as always; the handler that langchain makes events with is
given to it as one callback more, and what it makes goes out at once. So the other modes are not touched, and
an event is under way before anything is stored that comes after it. (The other modes' chunks pass the queue
of `astream` first, as they do there: the order among them is the same.)

Callbacks come from the event loop and, for synchronous nodes, from threads. An exception of a handler would
be swallowed by langchain or, worse, be raised into the user's code: it is kept in `failure`, and whoever
consumes the graph ends the run with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langchain_core.runnables.schema import StreamEvent

from gatewayd.worker import langgraph_internals as internals
from gatewayd.worker.states import serialise


class Events(internals.EventsHandler):
    """Emits the JSON of every event of one run; `given` is the graph's input."""

    def __init__(self, emit: Callable[[bytes], None], run_id: str, given: Any, *, full: bool) -> None:
        super().__init__()
        self.failure: Exception | None = None
        """Why an event could not be emitted; none is any more."""
        self._emit = emit
        self._root = run_id
        self._given = given
        self._full = full
        self._closed = False

    def close(self) -> None:
        """Emit nothing any more: the run's last event comes, and threads may still be at work."""
        self._closed = True

    def _send(self, event: StreamEvent, event_type: str) -> None:
        if self._closed or self.failure is not None:
            return
        shown: dict[str, Any] = {**event}
        if shown["run_id"] == self._root:
            if shown["event"] == "on_chain_start":  # langchain waits for streamed input; here it is all there
                shown["data"] = {**shown["data"], "input": self._given}
            elif shown["event"] == "on_chain_end":
                shown["data"] = {name: each for name, each in shown["data"].items() if name != "input"}
        try:
            self._emit(serialise.dumps(shown, full=self._full))
        except Exception as error:
            self.failure = error
