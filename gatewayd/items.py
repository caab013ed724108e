"""What can be done with the long-term store over HTTP: the store that graphs get by `get_store()`.

The service worker owns its file, so everything is a call; see `worker.store.items` for how operations travel.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from attrs import frozen

from gatewayd import serving, wire
from gatewayd.errors import Invalid, Rejected

RESERVED = "langgraph"
"""The first label that langgraph keeps for itself."""

Item = dict[str, Any]


class Workers(Protocol):
    """Who answers."""

    async def call(self, method: str, params: dict[str, Any]) -> Any:
        """Ask the service worker."""


@frozen(kw_only=True)
class Items:
    """The use cases. All raise `Invalid` for labels that can't be, `Unavailable` and `Unanswered`."""

    workers: Workers
    serving: serving.Serving
    require_room: Callable[[], Awaitable[None]]
    """Raises `InsufficientStorage` when nothing new is taken."""

    async def put(
        self, namespace: list[str], key: str, value: Item, *, index: Any, ttl: float | None, for_ever: bool
    ) -> None:
        """
        Store an item in the place of another with its key.

        `index`: None for the fields of the configuration, False for none, or paths. `ttl` is in minutes;
        without it, and unless it is to be there `for_ever`, the configuration's default counts. Raises
        `Rejected`, `InsufficientStorage`.
        """
        if not namespace:
            raise Rejected("Namespace cannot be empty.")
        _check(namespace)
        if namespace[0] == RESERVED:
            shown = f"({namespace[0]!r},)" if len(namespace) == 1 else repr(tuple(namespace))
            raise Rejected(f'Root label for namespace cannot be "{RESERVED}". Got: {shown}')
        await self.require_room()
        if ttl is None and not for_ever:
            ttl = self.serving.project.store_ttl.default_ttl
        await self._do(
            {"op": "put", "namespace": namespace, "key": key, "value": value, "index": index, "ttl": ttl}
        )

    async def get(self, namespace: list[str], key: str, *, refresh: bool | None = None) -> Item | None:
        """Return an item, None if there is none; `refresh` its life (None: as the configuration says)."""
        _check(namespace)
        if not key:
            raise Rejected("Key is required")
        found: Item | None = await self._do(
            {"op": "get", "namespace": namespace, "key": key, "refresh_ttl": self._refresh(refresh)}
        )
        return found

    async def delete(self, namespace: list[str], key: str) -> None:
        """Delete an item, if there is one."""
        _check(namespace)
        await self._do({"op": "put", "namespace": namespace, "key": key, "value": None})

    async def search(
        self,
        prefix: list[str],
        *,
        terms: dict[str, Any] | None,
        limit: int,
        offset: int,
        query: str | None,
        refresh: bool | None,
    ) -> list[Item]:
        """
        Return items below a namespace: by meaning if there is an index, else the latest first. Raises
        `Rejected`.
        """
        _check(prefix)
        found: list[Item] = await self._do(
            {
                "op": "search",
                "namespace_prefix": prefix,
                "filter": terms,
                "limit": limit,
                "offset": offset,
                "query": query or None,
                "refresh_ttl": self._refresh(refresh),
            }
        )
        return found

    async def namespaces(
        self, prefix: list[str], suffix: list[str], *, max_depth: int | None, limit: int, offset: int
    ) -> list[list[str]]:
        """Return the namespaces that have items, in order; ``*`` in a prefix or suffix is any label."""
        _check(prefix)
        _check(suffix)
        found: list[list[str]] = await self._do(
            {
                "op": "list",
                "match_conditions": [["prefix", prefix], ["suffix", suffix]],
                "max_depth": max_depth,
                "limit": limit,
                "offset": offset,
            }
        )
        return found

    def _refresh(self, wanted: bool | None) -> bool:
        return self.serving.project.store_ttl.refresh_on_read if wanted is None else wanted

    async def _do(self, operation: dict[str, Any]) -> Any:
        (result,) = wire.loads(await self.workers.call("store", {"operations": wire.dumps([operation])}))
        return result


def _check(labels: list[str]) -> None:
    for label in labels:
        if not label or "." in label:
            raise Invalid(f"Namespace label '{label}' must be a non-empty string without periods")
