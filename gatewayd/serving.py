"""The project that is served now, which a reload replaces as a whole; and its graphs, by id."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gatewayd import project as project_
from gatewayd import settings
from gatewayd.errors import NotFound


class Serving(Mapping[str, project_.GraphSpec]):
    """
    The served project; as a mapping, its graphs by id.

    What needs the graphs holds this object and not a copy of it, so that all see a reload at the same moment.
    """

    def __init__(self, options: settings.Settings, served: project_.Project) -> None:
        self._options = options
        self.trouble: str | None = None
        """Why the project as it is on disk is not the one served: the last reload failed."""
        self.become(served)

    def become(self, served: project_.Project) -> None:
        """Serve this project from now on."""
        self.project = served
        self.cors = settings.effective_cors(self._options, served)
        """What other origins' pages may do."""
        self.retention = settings.effective_retention(self._options, served)
        """How long threads are kept."""
        self.trouble = None

    def __getitem__(self, graph_id: str) -> project_.GraphSpec:
        return self.project.graphs[graph_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self.project.graphs)

    def __len__(self) -> int:
        return len(self.project.graphs)


def require(graphs: Mapping[str, project_.GraphSpec], graph_id: str) -> None:
    """Raise `NotFound` unless the project has this graph."""
    if graph_id not in graphs:
        raise NotFound(f"Graph '{graph_id}' not found. Expected one of: {sorted(graphs)}")
