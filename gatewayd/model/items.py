"""A project's settings of the long-term store: semantic search, and how long items live."""

from __future__ import annotations

from attrs import frozen


@frozen(kw_only=True)
class StoreIndex:
    """``store.index`` of langgraph.json."""

    dims: int
    """Numbers in a vector."""
    embed: str
    """``./file.py:function``, or ``provider:model`` as langchain spells it."""
    fields: tuple[str, ...] = ("$",)
    """Paths in a value whose texts are embedded; ``$`` is the whole value as JSON."""

    @property
    def is_code(self) -> bool:
        """Whether `embed` is code of the project in a file, rather than a langchain model."""
        return "/" in self.embed.partition(":")[0]


@frozen(kw_only=True)
class StoreTtl:
    """``store.ttl`` of langgraph.json."""

    default_ttl: float | None = None
    """Minutes that an item without a `ttl` of its own lives; None: for ever."""
    refresh_on_read: bool = True
    """Whether reading an item restarts its time, unless the call says otherwise."""
    sweep_interval_minutes: float = 5.0
    """Minutes between two sweeps of expired items, which are already invisible."""
