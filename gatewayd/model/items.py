"""What a project asks of the long-term store: an index by meaning, and how long items live."""

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
        """Whether `embed` is code of the project, in a file, and not a model of langchain's."""
        return "/" in self.embed.partition(":")[0]


@frozen(kw_only=True)
class StoreTtl:
    """``store.ttl`` of langgraph.json."""

    default_ttl: float | None = None
    """Minutes that an item lives which is put without a `ttl`; None: for ever."""
    refresh_on_read: bool = True
    """Whether reading an item makes its time begin anew, unless the call says."""
    sweep_interval_minutes: float = 5.0
    """Minutes between two sweeps for expired items, which nobody sees in between."""
