"""Bodies of requests about items of the long-term store."""

from __future__ import annotations

from attrs import field, frozen

from gatewayd.api.requests.kinds import HUNDRED_NAMESPACES, START, TEN_ITEMS, Count, ItemIndex, Minutes
from gatewayd.api.requests.parse import Object, Offset


@frozen(kw_only=True)
class ItemPut:
    """``PUT /store/items``."""

    namespace: list[str]
    key: str
    value: Object
    index: ItemIndex | None = None
    ttl: Minutes | None = None


@frozen(kw_only=True)
class ItemDelete:
    """``DELETE /store/items``."""

    namespace: list[str] = field(factory=list)
    key: str


@frozen(kw_only=True)
class ItemSearch:
    """``POST /store/items/search``."""

    namespace_prefix: list[str] = field(factory=list)
    filter: Object | None = None
    limit: Count = TEN_ITEMS
    offset: Offset = START
    query: str | None = None
    refresh_ttl: bool | None = None


@frozen(kw_only=True)
class NamespaceSearch:
    """``POST /store/namespaces``."""

    prefix: list[str] = field(factory=list)
    suffix: list[str] = field(factory=list)
    max_depth: Count | None = None
    limit: Count = HUNDRED_NAMESPACES
    offset: Offset = START
