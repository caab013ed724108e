"""Stream transformers that a graph's author has compiled into it, for runs of protocol v2.

langgraph hands each chunk to them as an event of the protocol: they may change its data, suppress it, and
push to named channels of their own, which clients read as custom events ``{"name", "payload"}``. Those that
langgraph brings along are left out: what they add is made by `protocol`. Transformers that await something
can't be run here, because events must not be late for a checkpoint; a graph that has one fails by name rather
than to show what it would have changed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from gatewayd.worker import langgraph_internals as internals


class Transformers(internals.StreamMux):
    """The transformers of one run."""

    def __init__(self, factories: Sequence[Callable[[tuple[str, ...]], Any]]) -> None:
        self._pushed: list[tuple[str, Any]] = []
        super().__init__(
            factories=[factory for factory in factories if not _built_in(factory)], is_async=False
        )

    def _forward(self, method: str, item: Any) -> None:
        self._pushed.append((method.removeprefix("custom:"), item))

    def pushed(self) -> list[tuple[str, Any]]:
        """Return what was pushed to named channels since the last call."""
        found, self._pushed = self._pushed, []
        return found

    def passes(self, namespace: tuple[str, ...], mode: str, payload: Any) -> tuple[bool, Any]:
        """Show a chunk to the transformers; return whether it is to be shown, and its data then."""
        if not self._transformers:
            return True, payload
        params = {"namespace": list(namespace), "timestamp": int(time.time() * 1000), "data": payload}
        event: Any = {"type": "event", "method": mode, "params": params}
        keep = True
        for transformer in self._transformers:
            keep = transformer.process(event) and keep
        return keep, params["data"]

    def finish(self) -> None:
        """Let them push what they have kept until the end."""
        for transformer in self._transformers:
            transformer.finalize()


def _built_in(factory: Any) -> bool:
    return str(getattr(factory, "__module__", "")).startswith("langgraph.")
