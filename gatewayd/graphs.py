"""The project's graphs by name, as requests and stored threads name them."""

from __future__ import annotations

from collections.abc import Mapping

from gatewayd import project
from gatewayd.errors import NotFound


def require(graphs: Mapping[str, project.GraphSpec], graph_id: str) -> None:
    """Raise `NotFound` unless the project has this graph."""
    if graph_id not in graphs:
        raise NotFound(f"Graph '{graph_id}' not found. Expected one of: {sorted(graphs)}")
