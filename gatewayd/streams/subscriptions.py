"""The requests of protocol v2 readers: parsing filters, the filters of one connection, where a replay begins.

A connection may have `MOST` subscriptions. An event is not compared with each of them: `Subscriptions` has an
index by channel and first segment of the namespace, and equal filters are in it once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from attrs import define, field

from gatewayd import ids
from gatewayd.errors import Invalid, Rejected
from gatewayd.storage import store
from gatewayd.streams import v2

FURTHEST = 1 << 62
NO_CHANNELS = "channels is required and must be a non-empty array"

MOST: Final = 1000
"""Subscriptions of one connection."""
HEAVIEST_FILTER: Final = 1 << 20
"""Bytes of memory that one filter may take."""
HEAVIEST: Final = 4 << 20
"""Bytes of memory that all filters of a connection may take."""
ENTRY: Final = 100
"""Bytes that the index takes for one prefix on one channel, roughly."""
SHOWN: Final = 1000
"""Characters of unsupported channels that the error repeats."""


def parse(params: Mapping[str, Any]) -> v2.Filter:
    """
    Return the filter that a request describes; optional fields of a wrong type are ignored.

    Raises `Rejected`, and `Invalid` for a filter that is too large.
    """
    channels = params.get("channels")
    if not isinstance(channels, list) or not channels:
        raise Rejected(NO_CHANNELS)
    unsupported = [name for name in channels if not (isinstance(name, str) and _known(name))]
    if unsupported:
        raise Rejected(
            f"channels contains unsupported entries: {', '.join(map(str, unsupported))[:SHOWN]}. "
            f"Allowed: {', '.join(v2.CHANNELS[:-1])}, or any `{v2.NAMED}<name>`."
        )
    depth = params.get("depth")
    wanted = v2.Filter(
        channels=frozenset(channels),
        namespaces=_namespaces(params.get("namespaces")),
        depth=depth if isinstance(depth, int) and not isinstance(depth, bool) and depth >= 0 else None,
    )
    if weight(wanted) > HEAVIEST_FILTER:
        raise Invalid(
            f"channels and namespaces: a filter of {len(wanted.channels)} channels and "
            f"{len(wanted.namespaces or ())} namespaces is larger than {HEAVIEST_FILTER} bytes"
        )
    return wanted


def _known(channel: str) -> bool:
    return channel in v2.CHANNELS or (channel.startswith(v2.NAMED) and len(channel) > len(v2.NAMED))


def _namespaces(given: Any) -> tuple[tuple[str, ...], ...] | None:
    if not isinstance(given, list) or not given:
        return None
    for prefix in given:
        if not isinstance(prefix, list) or not all(isinstance(segment, str) for segment in prefix):
            return None
    return tuple(dict.fromkeys(tuple(prefix) for prefix in given))


def weight(wanted: v2.Filter) -> int:
    """Return how many bytes of memory a filter takes with its entries in the index, roughly."""
    prefixes = wanted.namespaces or ((),)
    segments = sum(ENTRY + len(segment) for prefix in prefixes for segment in prefix)
    return (
        segments + sum(len(name) for name in wanted.channels) + ENTRY * len(wanted.channels) * len(prefixes)
    )


# the filters of one connection


_Prefix = tuple[tuple[str, ...], int | None]
"""The beginning of namespaces, and how many segments may follow."""


@define(eq=False)
class _Channel:
    """The filters that want events of one channel. The counters count equal entries of several filters."""

    everything: int = 0
    """Filters without namespaces."""
    anywhere: Counter[_Prefix] = field(factory=Counter)
    """Prefixes without a segment; they differ in depth."""
    below: dict[str, Counter[_Prefix]] = field(factory=dict)
    """Other prefixes, by their first segment."""

    def count(self, wanted: v2.Filter, number: int) -> None:
        """Add a filter (1), or take it away (-1)."""
        if wanted.namespaces is None:
            self.everything += number
            return
        for prefix in wanted.namespaces:
            prefixes = self.below.setdefault(prefix[0], Counter()) if prefix else self.anywhere
            prefixes[prefix, wanted.depth] += number
            if not prefixes[prefix, wanted.depth]:
                del prefixes[prefix, wanted.depth]
            if prefix and not prefixes:
                del self.below[prefix[0]]

    def __bool__(self) -> bool:
        return bool(self.everything or self.anywhere or self.below)

    def passes(self, namespace: list[str]) -> bool:
        """Whether an event of this channel is wanted."""
        return bool(self.everything) or any(
            v2.within(namespace, prefix, depth) for prefix, depth in self._candidates(namespace)
        )

    def _candidates(self, namespace: list[str]) -> Iterator[_Prefix]:
        yield from self.anywhere
        if namespace and self.below:
            for first in {namespace[0], namespace[0].partition(":")[0]}:
                yield from self.below.get(first, ())


@define(eq=False)
class Subscriptions:
    """The filters of one connection; an event passes if it passes one of them."""

    weight: int = field(default=0, init=False)
    """Bytes that all filters take, equal ones counted once."""
    _filters: dict[str, v2.Filter] = field(factory=dict, init=False)
    _shared: dict[v2.Filter, v2.Filter] = field(factory=dict, init=False)
    """Each distinct filter, by itself: equal ones share one object."""
    _same: Counter[v2.Filter] = field(factory=Counter, init=False)
    """The number of subscriptions with this filter."""
    _channels: dict[str, _Channel] = field(factory=dict, init=False)
    _named: int = field(default=0, init=False)
    """The number of channels in the index for custom events of one name."""

    def __len__(self) -> int:
        return len(self._filters)

    @classmethod
    def of(cls, wanted: v2.Filter) -> Subscriptions:
        """Return the subscriptions of a connection that has one."""
        subscriptions = cls()
        subscriptions.add(wanted)
        return subscriptions

    def check_room(self, wanted: v2.Filter) -> None:
        """Raise `Invalid` if there is no room for another subscription with this filter."""
        if len(self._filters) >= MOST:
            raise Invalid(f"a connection may have at most {MOST} subscriptions")
        if wanted not in self._shared and self.weight + weight(wanted) > HEAVIEST:
            raise Invalid(f"the filters of a connection may take at most {HEAVIEST} bytes")

    def add(self, wanted: v2.Filter) -> str:
        """Add a subscription and return its id."""
        subscription_id = ids.new_id()
        wanted = self._filters[subscription_id] = self._shared.setdefault(wanted, wanted)
        self._same[wanted] += 1
        if self._same[wanted] == 1:
            self._count(wanted, 1)
        return subscription_id

    def remove(self, subscription_id: str) -> bool:
        """End a subscription; False if there is none with this id."""
        wanted = self._filters.pop(subscription_id, None)
        if wanted is None:
            return False
        self._same[wanted] -= 1
        if not self._same[wanted]:
            del self._same[wanted], self._shared[wanted]
            self._count(wanted, -1)
        return True

    def _count(self, wanted: v2.Filter, number: int) -> None:
        self.weight += number * weight(wanted)
        for name in wanted.channels:
            channel = self._channels.setdefault(name, _Channel())
            before = bool(channel)
            channel.count(wanted, number)
            if name.startswith(v2.NAMED):
                self._named += bool(channel) - before
            if not channel:
                del self._channels[name]

    def passes(self, shown: v2.View) -> bool:
        """Whether the event is wanted."""
        names = [shown.channel]
        if self._named and shown.method == "custom" and (name := v2.custom_name(shown)):
            names.append(v2.NAMED + name)
        channels = [self._channels[name] for name in names if name in self._channels]
        if not channels:
            return False
        namespace = shown.namespace
        return any(channel.passes(namespace) for channel in channels)


# where a reader begins


def since(params: Mapping[str, Any]) -> int | None:
    """Return the number behind which the client wants to read, None if it does not say."""
    number = params.get("since")
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < FURTHEST:
        return None
    return number


async def replay_start(storage: store.Storage, thread_id: str, replay_since: int) -> int:
    """Return the number behind which a reader without a position starts; `replay_since` is a moment in µs."""
    # The last number is read first: events that are stored in between then come through the log.
    last, _ = await storage.events_last(thread_id)
    first = await storage.events_replay_start(thread_id, replay_since)
    return last if first is None else first - 1
