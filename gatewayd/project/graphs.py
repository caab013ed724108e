"""The section ``graphs``, and what ``gatewayd.graphs`` adds to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import evolve

from gatewayd.project import values
from gatewayd.project.model import ON_RESTART, GraphSpec

JS_SUFFIXES = (".ts", ".tsx", ".mts", ".cts", ".js", ".jsx", ".mjs", ".cjs")


def read(path: Path, value: Any, own: Any) -> dict[str, GraphSpec]:
    """Read which graphs there are; `own` is what ``gatewayd.graphs`` says of them."""
    if value is None or value == {}:
        raise values.bad(path, "graphs", 'missing; it says what to serve, e.g. {"agent": "./agent.py:graph"}')
    options = _own_options(path, own)
    found = {
        graph_id: evolve(_graph(path, graph_id, entry), **options.pop(graph_id, {}))
        for graph_id, entry in values.mapping(path, "graphs", value).items()
    }
    for graph_id in options:
        raise values.bad(path, f"gatewayd.graphs.{graph_id}", "there is no such graph")
    return found


def _own_options(path: Path, value: Any) -> dict[str, dict[str, str]]:
    """Read what only gatewayd knows of graphs: ``{"<id>": {"on_restart": "…"}}``."""
    options: dict[str, dict[str, str]] = {}
    for graph_id, entry in values.mapping(path, "gatewayd.graphs", {} if value is None else value).items():
        key = f"gatewayd.graphs.{graph_id}"
        options[graph_id] = {}
        for name, chosen in values.mapping(path, key, entry).items():
            if name != "on_restart":
                raise values.bad(path, f"{key}.{name}", "unknown option; there is on_restart")
            if chosen not in ON_RESTART:
                raise values.bad(path, f"{key}.{name}", f"must be {' or '.join(ON_RESTART)}")
            options[graph_id][name] = chosen
    return options


def _graph(path: Path, graph_id: str, entry: Any) -> GraphSpec:
    key = f"graphs.{graph_id}"
    if not graph_id:
        raise values.bad(path, "graphs", "a graph's id is empty")
    description = None
    if isinstance(entry, dict):
        if entry.get("description") is not None:
            description = values.text(path, f"{key}.description", entry["description"])
        entry = entry.get("path")
    spec = GraphSpec(graph_id=graph_id, path=values.text(path, key, entry), description=description)
    if spec.location.endswith(JS_SUFFIXES) or spec.path.endswith(JS_SUFFIXES):
        raise values.bad(
            path, key, f"{spec.path}: JavaScript graphs are not supported; gatewayd runs Python graphs"
        )
    if not spec.location or not spec.attribute or "/" in spec.attribute:
        raise values.bad(
            path, key, f"{spec.path!r} must be './file.py:attribute' or 'package.module:attribute'"
        )
    if spec.is_file:
        if not (path.parent / spec.location).is_file():
            raise values.bad(path, key, f"{spec.path}: there is no file {path.parent / spec.location}")
    elif spec.location.endswith(".py"):
        raise values.bad(
            path, key, f"{spec.path}: without a slash this is a module's name; write ./{spec.path}"
        )
    return spec
