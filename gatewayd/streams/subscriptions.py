"""What a reader of protocol v2 asks for: the filter of a subscription, as JSON says it, and where its replay begins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gatewayd.errors import Rejected
from gatewayd.storage import store
from gatewayd.streams import v2

FURTHEST = 1 << 62
NO_CHANNELS = "channels is required and must be a non-empty array"


def parse(params: Mapping[str, Any]) -> v2.Filter:
    """Return the filter that a request describes. Raises `Rejected`; what is ill-typed but optional is as good as absent."""
    channels = params.get("channels")
    if not isinstance(channels, list) or not channels:
        raise Rejected(NO_CHANNELS)
    wrong = [name for name in channels if not (isinstance(name, str) and _known(name))]
    if wrong:
        raise Rejected(
            f"channels contains unsupported entries: {', '.join(map(str, wrong))}. "
            f"Allowed: {', '.join(v2.CHANNELS[:-1])}, or any `{v2.NAMED}<name>`."
        )
    depth = params.get("depth")
    return v2.Filter(
        channels=frozenset(channels),
        namespaces=_namespaces(params.get("namespaces")),
        depth=depth if isinstance(depth, int) and not isinstance(depth, bool) and depth >= 0 else None,
    )


def _known(channel: str) -> bool:
    return channel in v2.CHANNELS or (channel.startswith(v2.NAMED) and len(channel) > len(v2.NAMED))


def _namespaces(given: Any) -> tuple[tuple[str, ...], ...] | None:
    if not isinstance(given, list) or not given:
        return None
    for prefix in given:
        if not isinstance(prefix, list) or not all(isinstance(segment, str) for segment in prefix):
            return None
    return tuple(tuple(prefix) for prefix in given)


def since(params: Mapping[str, Any]) -> int | None:
    """Return the number behind which the client wants to read, None if it does not say."""
    given = params.get("since")
    if not isinstance(given, int) or isinstance(given, bool) or not 0 <= given < FURTHEST:
        return None
    return given


async def replay_start(storage: store.Storage, thread_id: str, replay_since: int) -> int:
    """Return the number behind which a reader starts that knows nothing; `replay_since` is a moment in µs."""
    last, _ = await storage.events_last(
        thread_id
    )  # before the other: what is stored in between comes by the log
    first = await storage.events_replay_start(thread_id, replay_since)
    return last if first is None else first - 1
