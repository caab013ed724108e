"""Records as events of protocol v2: envelopes, ids, filters.

A stream of v2 is a cursor over a thread's log with a filter. Its numbers (`seq`) are the log's: they are
equal for all readers and stay so after a restart. Event ids are stable too: ``<ms>-<seq>``, or
``synth:<run_id>:…`` for events that the server makes about a run, from which clients read the run id.

Records of runs that were started over v2 have kinds ``v2/<method>`` or ``v2/<method>=<tail of the id>``.
Their data is their part of the envelope's `params`: ``{"data": …}``, with ``"node"`` where the node is known.
Records of v1 runs are converted when they are read (`convert.to_v2`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from attrs import field, frozen

from gatewayd import wire
from gatewayd.model import event
from gatewayd.model.event import Chunk, Item, Record
from gatewayd.streams.convert import to_v1, to_v2

CHANNELS: Final = (
    "values",
    "updates",
    "messages",
    "tools",
    "custom",
    "lifecycle",
    "input",
    "tasks",
    "checkpoints",
)
NAMED: Final = "custom:"
MOST_COMPARED: Final = 10_000
"""Pairs of namespaces that are compared at most to decide whether one filter covers another."""


@frozen
class View:
    """One event as v2 shows it, before it is put into its envelope."""

    record: Record
    method: str
    tail: str
    """The last part of a `synth:` id, or ""."""

    @property
    def channel(self) -> str:
        """The channel that filters know it by."""
        return "input" if self.method.startswith("input.") else self.method

    @property
    def namespace(self) -> list[str]:
        return self.record.namespace.split("|") if self.record.namespace else []

    @property
    def event_id(self) -> str:
        """The id by which clients recognise it."""
        record = self.record
        if not self.tail:
            return record.event_id
        where = record.namespace.replace("|", "\ufffd")
        what = {"lifecycle": "lc", "input.requested": "input"}.get(self.method, self.method)
        return f"synth:{record.run_id}:{what}|{where}|{self.tail}"

    def params(self) -> bytes | None:
        """Return the event's part of the envelope's `params`; None if v2 shows nothing."""
        if self.record.kind.startswith(event.V2_KIND):
            return self.record.data
        return to_v2.fragment(self.record.kind, self.record.data)

    def encoded(self) -> bytes | None:
        """Return the whole event as JSON; None if v2 shows nothing."""
        params = self.params()
        if params is None:
            return None
        return envelope(
            self.event_id, self.record.seq, self.method, self.namespace, self.record.time_ms, params
        )


def envelope(
    event_id: str, seq: int, method: str, namespace: Sequence[str], time_ms: int, params: bytes
) -> bytes:
    """Return an event as JSON; `params` is an object that is merged into the envelope's."""
    head = (wire.dumps(event_id), seq, method.encode(), wire.dumps(list(namespace)), time_ms)
    start = (
        b'{"type":"event","event_id":%b,"seq":%d,"method":"%b","params":{"namespace":%b,"timestamp":%d,'
        % head
    )
    return start + params[1:] + b"}"


def view(record: Record) -> View | None:
    """Return the record as v2 shows it; None if v2 has no such event."""
    if record.mask & event.V2:
        method, _, tail = record.kind.removeprefix(event.V2_KIND).partition("=")
        return View(record, method, tail)
    if record.mask & event.V1 and record.kind in to_v2.KINDS:
        return View(record, record.kind, "")
    return None


def shown_to_v1(record: Record) -> Record | None:
    """Return a record of a v2 run as v1 shows it; None if v1 has no such event."""
    method = record.kind.removeprefix(event.V2_KIND).partition("=")[0]
    converted = to_v1.event(method, record.namespace, record.run_id, record.data)
    return None if converted is None else record._replace(kind=converted[0], data=converted[1])


def start_items(graph_name: str, attempt: int, answered: list[str]) -> list[Item]:
    """
    Return the v2 items of a run's start in one attempt; `answered` are the ids of the interrupts it answers.
    """
    tail = "running" if attempt == 1 else f"running:{attempt}"
    data = {"event": "running", "graph_name": graph_name}
    items: list[Item] = [(f"{event.V2_KIND}lifecycle={tail}", "", event.V2, wire.dumps({"data": data}))]
    if answered and attempt == 1:
        params = {"interrupt_ids": answered}
        kind = f"{event.V2_KIND}input.answered={','.join(answered)}"
        items.append((kind, "", event.V2, wire.dumps({"data": params})))
    return items


def end_items(
    graph_name: str,
    status: str,
    error: Mapping[str, str] | None,
    interrupts: Mapping[str, Sequence[Mapping[str, Any]]] | None,
    next_nodes: Sequence[str] | None,
    asked: Mapping[str, str],
    refusal: Mapping[str, Any] | None = None,
) -> list[Item]:
    """
    Return the v2 items of a run's end: its interrupts, and the end of its graph.

    They are stored in the transaction that ends the run, so a client that sees an interrupt can answer it.
    """
    data: dict[str, Any] = {"event": STATUSES[status], "graph_name": graph_name}
    items: list[Item] = []
    if status == "success" and (interrupts or next_nodes):
        data["event"] = "interrupted"
        for interrupt in (interrupt for of_task in (interrupts or {}).values() for interrupt in of_task):
            interrupt_id, value = interrupt["id"], interrupt["value"]
            params = {"interrupt_id": interrupt_id, "payload": value, "value": value}
            kind = f"{event.V2_KIND}input.requested={interrupt_id}"
            items.append((kind, asked.get(interrupt_id, ""), event.V2, wire.dumps({"data": params})))
    if error is not None and data["event"] == "failed":
        data["error"] = error.get("message") or error.get("error") or ""
        data |= refusal or {}
    kind = f"{event.V2_KIND}lifecycle={data['event']}"
    return [*items, (kind, "", event.V2, wire.dumps({"data": data}))]


STATUSES: Final[Mapping[str, str]] = {
    "success": "completed",
    "error": "failed",
    "timeout": "failed",
    "interrupted": "interrupted",
}
"""Status of a run → name of its end in v2."""


# filters


@frozen(kw_only=True)
class Filter:
    """What one subscription lets through."""

    channels: frozenset[str]
    """Names of channels; ``custom:<name>`` for custom events of one name."""
    namespaces: tuple[tuple[str, ...], ...] | None = None
    """Prefixes, one of which must match; None: every namespace."""
    depth: int | None = None
    """How many segments a namespace may have beyond the prefix; None: any number."""
    _names: frozenset[str] = field(init=False)

    @_names.default
    def _of_channels(self) -> frozenset[str]:
        return frozenset(name.removeprefix(NAMED) for name in self.channels if name.startswith(NAMED))

    def covers(self, other: Filter) -> bool:
        """
        Whether this filter passes everything that the other passes. False for very long filters, unchecked.
        """
        missing = other.channels - self.channels
        if not all("custom" in self.channels and name.startswith(NAMED) for name in missing):
            return False
        if self.namespaces is None:
            return True
        if other.namespaces is None or len(self.namespaces) * len(other.namespaces) > MOST_COMPARED:
            return False
        return all(self._reaches(prefix, other.depth) for prefix in other.namespaces)

    def _reaches(self, namespace: tuple[str, ...], depth: int | None) -> bool:
        """Whether all events at most `depth` segments below a namespace pass."""
        return any(
            within(namespace, prefix, None)
            and (
                self.depth is None
                or (depth is not None and len(namespace) + depth - len(prefix) <= self.depth)
            )
            for prefix in self.namespaces or ()
        )

    def passes(self, shown: View) -> bool:
        """Whether the event is wanted."""
        wanted = shown.channel in self.channels or (
            shown.method == "custom" and bool(self._names) and custom_name(shown) in self._names
        )
        return wanted and (self.namespaces is None or self._within(shown.namespace))

    def _within(self, namespace: Sequence[str]) -> bool:
        assert self.namespaces is not None
        return any(within(namespace, prefix, self.depth) for prefix in self.namespaces)


def within(namespace: Sequence[str], prefix: Sequence[str], depth: int | None) -> bool:
    """Whether a namespace begins with the prefix and has at most `depth` segments more."""
    return (
        len(namespace) >= len(prefix)
        and all(_matches(wanted, given) for wanted, given in zip(prefix, namespace, strict=False))
        and (depth is None or len(namespace) - len(prefix) <= depth)
    )


def _matches(wanted: str, given: str) -> bool:
    return wanted == given or (":" not in wanted and given.partition(":")[0] == wanted)


def custom_name(shown: View) -> str | None:
    """Return the name that a custom event has in its data."""
    params = shown.params()
    data = None if params is None else wire.loads(params)["data"]
    name = data.get("name") if isinstance(data, dict) else None
    return name if isinstance(name, str) else None


LIFECYCLE: Final = Filter(channels=frozenset({"lifecycle"}))


class EventFilter(Protocol):
    """Decides which events are shown."""

    def passes(self, shown: View) -> bool:
        """Whether the event is shown."""


def views(
    chunks: Iterable[Chunk], wanted: EventFilter, also_wanted: EventFilter | None = None
) -> Iterator[View]:
    """Yield the events of chunks that pass both filters."""
    for chunk in chunks:
        for record in chunk.records:
            shown = view(record)
            if shown is None or (also_wanted is not None and not also_wanted.passes(shown)):
                continue
            if wanted.passes(shown):
                yield shown


def frame(method: str, seq: int, data: bytes) -> bytes:
    return b"event: %b\r\ndata: %b\r\nid: %d\r\n\r\n" % (method.encode(), data, seq)


def frames(chunks: Iterable[Chunk], wanted: EventFilter, also_wanted: EventFilter | None = None) -> bytes:
    """Return the joined frames of the events that pass both filters."""
    parts = []
    for shown in views(chunks, wanted, also_wanted):
        if (data := shown.encoded()) is not None:
            parts.append(frame(shown.method, shown.record.seq, data))
    return b"".join(parts)


# the tree of a run


@frozen
class Branch:
    """An executing graph: a node of the tree that `agent.getTree` returns."""

    namespace: tuple[str, ...]
    status: str
    graph_name: str


def grown(tree: dict[tuple[str, ...], Branch], chunks: Iterable[Chunk]) -> dict[tuple[str, ...], Branch]:
    """Return the tree of the latest run after the events in `chunks`."""
    for shown in views(chunks, LIFECYCLE):
        params = shown.params()
        data: dict[str, Any] = {} if params is None else wire.loads(params)["data"]
        namespace = tuple(shown.namespace)
        if not namespace and data["event"] == "running":
            tree = {}
        status = "running" if data["event"] == "started" else data["event"]
        tree[namespace] = Branch(namespace, status, data.get("graph_name") or "")
    return tree


def shown_tree(tree: dict[tuple[str, ...], Branch], namespace: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the tree below a namespace as the wire shows it."""
    subgraph = tree[namespace]
    below = [name for name in tree if len(name) == len(namespace) + 1 and name[:-1] == namespace]
    children = [shown_tree(tree, name) for name in below]
    about = {"namespace": list(namespace), "status": subgraph.status, "graph_name": subgraph.graph_name}
    return {**about, "children": children} if children else about


def state_after_gap(seq: int, time_ms: int, params: bytes) -> View:
    """Return the event that gives a reader the state at `seq` in place of events that are not kept."""
    return View(Record(seq, time_ms, "", f"{event.V2_KIND}values", "", event.V2, params), "values", "")
