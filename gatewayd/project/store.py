"""The section ``store``: items that are found by meaning, and how long items are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gatewayd.model.items import StoreIndex, StoreTtl
from gatewayd.project import values


def index(path: Path, value: Any, warnings: list[str]) -> StoreIndex | None:
    """Read how items are found by meaning; None: they are not."""
    if not value:
        return None
    given = values.known(path, "store.index", value, ("dims", "embed", "fields"), warnings)
    dims = given.get("dims")
    if isinstance(dims, bool) or not isinstance(dims, int) or dims < 1:
        raise values.bad(path, "store.index.dims", "must be the number of numbers in a vector, 1 or more")
    fields = given.get("fields") or "$"
    made = StoreIndex(
        dims=dims,
        embed=values.text(path, "store.index.embed", given.get("embed")),
        fields=values.texts(path, "store.index.fields", [fields] if isinstance(fields, str) else fields),
    )
    location, colon, name = made.embed.rpartition(":")
    if not (location and colon and name):
        raise values.bad(
            path, "store.index.embed", f"{made.embed!r} must be './file.py:function' or 'provider:model'"
        )
    if made.is_code and not (path.parent / location).is_file():
        raise values.bad(
            path, "store.index.embed", f"{made.embed}: there is no file {path.parent / location}"
        )
    return made


def ttl(path: Path, value: Any, warnings: list[str]) -> StoreTtl:
    """Read how long items are kept."""
    names = ("default_ttl", "refresh_on_read", "sweep_interval_minutes")
    given = values.known(path, "store.ttl", value or {}, names, warnings)
    fields: dict[str, Any] = {}
    if "refresh_on_read" in given:
        fields["refresh_on_read"] = values.flag(path, "store.ttl.refresh_on_read", given["refresh_on_read"])
    for name in ("default_ttl", "sweep_interval_minutes"):
        if name not in given:
            continue
        minutes = given[name]
        if isinstance(minutes, bool) or not isinstance(minutes, int | float) or not 0 < minutes < 1e9:
            raise values.bad(path, f"store.ttl.{name}", "must be a number of minutes, more than 0")
        fields[name] = float(minutes)
    return StoreTtl(**fields)
