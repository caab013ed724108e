"""What a project asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import field, frozen

from gatewayd.model.items import StoreIndex, StoreTtl
from gatewayd.model.retention import Retention
from gatewayd.model.webhook import WebhookRules

ON_RESTART = ("resume", "restart", "error", "interrupt")
"""What may become of runs that were executing when the server was killed."""

CORS_METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY")
CORS_EXPOSED = (
    "x-pagination-total",
    "x-pagination-next",
    "content-location",
    "location",
    "x-search-incomplete",
)
"""The reference's; `location`, without which a browser's client can't reconnect to its run; and our own."""


@frozen(kw_only=True)
class GraphSpec:
    """
    One entry of ``graphs``: where the object stands in the user's code.

    A location with a slash is a file, any other a dotted module name.
    """

    graph_id: str
    path: str
    """As written: ``./folder/file.py:attribute`` or ``package.module:attribute``."""
    description: str | None = None
    on_restart: str | None = None
    """One of `ON_RESTART`; None: as the settings say."""

    @property
    def location(self) -> str:
        """The part before the colon."""
        return self.path.rpartition(":")[0]

    @property
    def attribute(self) -> str:
        """The part after the colon."""
        return self.path.rpartition(":")[2]

    @property
    def is_file(self) -> bool:
        """Whether the location is a file (relative to the project's folder) and not a module."""
        return "/" in self.location


@frozen(kw_only=True)
class Cors:
    """
    What other origins' pages may do. A field that ``http.cors`` leaves out keeps the open default, so that
    naming the origins doesn't close POST; only the origins themselves are none unless named.
    """

    allow_origins: tuple[str, ...] = ()
    """Origins, or ``("*",)``."""
    allow_methods: tuple[str, ...] = CORS_METHODS
    allow_headers: tuple[str, ...] = ("*",)
    """``("*",)``: whatever header is asked for."""
    allow_credentials: bool = False
    allow_origin_regex: str | None = None
    """Matched against the whole origin, beside `allow_origins`."""
    expose_headers: tuple[str, ...] = CORS_EXPOSED
    max_age: int = 600
    """Seconds a preflight's answer may be kept by the browser."""


@frozen(kw_only=True)
class Project:
    """What langgraph.json asks for."""

    path: Path
    """The file, absolute."""
    folder: Path
    """Its folder: what all paths in it are relative to."""
    graphs: dict[str, GraphSpec]
    """By graph id, in the order of the file; at least one."""
    dependencies: tuple[str, ...] = ()
    """As written: folders for the search path; package names are the virtualenv's business."""
    env: dict[str, str] = field(factory=dict)
    """
    Variables for the user's code and for the server's settings; they override the process's environment.
    """
    cors: Cors | None = None
    """``http.cors``; None if the file has none."""
    webhooks: WebhookRules = field(factory=WebhookRules)
    retention: Retention = field(factory=Retention)
    """``checkpointer.ttl``: how long threads are kept."""
    serde: dict[str, Any] = field(factory=dict)
    """
    ``checkpointer.serde``: those options of langgraph's `JsonPlusSerializer` that the file has, as JSON data.
    """
    store_index: StoreIndex | None = None
    """``store.index``; None if items are not found by meaning."""
    store_ttl: StoreTtl = field(factory=StoreTtl)
    disabled: frozenset[str] = frozenset()
    """Parts of the API that ``http`` switches off: meta, store."""
    warnings: tuple[str, ...] = ()
    """One line per key that is not honoured."""
    notes: tuple[str, ...] = ()
    """Lines of the same kind that don't deserve a warning."""

    @property
    def descriptions(self) -> dict[str, str | None]:
        """What the graphs are about, by id."""
        return {graph_id: spec.description for graph_id, spec in self.graphs.items()}

    def search_path(self) -> list[str]:
        """
        Return the folders to append to `sys.path`: the project's, then those of the dependencies that exist.
        """
        folders = [self.folder, *(self.folder / dependency for dependency in self.dependencies)]
        return list(dict.fromkeys(str(folder.resolve()) for folder in folders if folder.is_dir()))
