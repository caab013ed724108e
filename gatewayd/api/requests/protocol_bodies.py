"""The bodies of protocol v2 as they are described to clients; what reads them is lenient in its own way.

Their format is that of the reference server: a command is an envelope around its parameters, an event filter
names channels. See `commands` and `streams.subscriptions` for what is refused and with which word.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict


class ProtocolCommand(TypedDict):
    """One command: ``run.start``, ``input.respond``, ``agent.getTree``, ``subscription.…``."""

    id: int
    method: str
    params: NotRequired[dict[str, Any]]


class EventFilter(TypedDict):
    """Which events of a thread are sent."""

    channels: list[str]
    """Names of channels, or ``custom:<name>``; at least one."""
    namespaces: NotRequired[list[list[str]] | None]
    """Paths at or below which events happen; absent: any."""
    depth: NotRequired[int | None]
    """How far below a namespace."""
    since: NotRequired[int | None]
    """The number of the last event that the client has seen; absent: what is replayed to newcomers."""


class ProtocolError(TypedDict):
    """What is wrong with a command."""

    type: Literal["error"]
    id: int | None
    error: str
    message: str
