"""What the service worker says about graphs: their drawing and the schemas of what goes in and out of them.

langgraph makes both. What it has no function for is the schema of the whole state: it is made of the types by
which the state's channels are updated, all optional, since a node may update any of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, cast

from attrs import define
from langchain_core.runnables import RunnableConfig
from langgraph.store.base import BaseStore
from pydantic import ConfigDict, Field, create_model
from pydantic.errors import PydanticUserError

from gatewayd.worker.project import graphs
from gatewayd.worker.states import serialise

log = logging.getLogger(__name__)


@define(eq=False)
class Descriptions:
    """Describes the project's graphs as an assistant's config makes them."""

    graphs: graphs.Graphs
    store: BaseStore | None

    async def graph(self, graph_id: str, config: dict[str, Any], xray: bool | int) -> bytes:
        """
        Return the JSON of a graph's drawing; `xray` is how many levels of graphs inside are shown, true: all.
        """
        given = cast(RunnableConfig, config)
        async with self._open(graph_id, given) as graph:
            drawing = (await graph.aget_graph(given, xray=xray)).to_json()
            for node in drawing["nodes"]:
                if isinstance(node.get("data"), dict):
                    node["data"].pop("id", None)  # the class behind it, an internal of langgraph
            return serialise.dumps(drawing)

    async def schemas(self, graph_id: str, config: dict[str, Any]) -> bytes:
        """Return the JSON of a graph's schemas."""
        async with self._open(graph_id, cast(RunnableConfig, config)) as graph:
            return serialise.dumps({"graph_id": graph_id, **schemas_of(graph)})

    async def subgraphs(
        self, graph_id: str, config: dict[str, Any], namespace: str | None, recurse: bool
    ) -> bytes:
        """Return the JSON of the schemas of graphs inside, by namespace; with `namespace` only that one's."""
        async with self._open(graph_id, cast(RunnableConfig, config)) as graph:
            inside = graph.aget_subgraphs(namespace=namespace, recurse=recurse)
            return serialise.dumps({name: schemas_of(each) async for name, each in inside})

    def _open(self, graph_id: str, config: RunnableConfig) -> Any:
        return self.graphs.open_for_client(graph_id, config, "assistants.read", store=self.store)


def schemas_of(graph: graphs.AnyPregel) -> dict[str, Any]:
    """Return JSON schemas of a graph (rest.md §3.3); one that can't be expressed as such is None."""
    context = _made("context", graph, graph.get_context_jsonschema)
    return {
        "input_schema": _made("input", graph, graph.get_input_jsonschema),
        "output_schema": _made("output", graph, graph.get_output_jsonschema),
        "state_schema": _made("state", graph, lambda: _state_schema(graph)),
        "config_schema": context or {},
        "context_schema": context,
    }


def _made(word: str, graph: graphs.AnyPregel, make: Callable[[], Any]) -> Any:
    try:
        return make()
    except (
        PydanticUserError,
        TypeError,
        NameError,
    ) as error:  # a type that is no data; a forward reference to nothing
        log.warning("graph '%s' has no %s schema: %s", graph.name, word, error)
        return None


def _state_schema(graph: graphs.AnyPregel) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name in graph.stream_channels_list:
        kind = graph.channels[name].UpdateType  # type: ignore[union-attr]  # what is streamed is a channel
        kind = kind if _expressible(kind) else Any
        if name.startswith("_"):  # a model has no such fields
            title = name.lstrip("_").title().replace("_", " ")
            fields[f"field{len(fields)}"] = (kind, Field(None, alias=name, title=title))
        else:
            fields[name] = (kind, None)
    schema: dict[str, Any] = _model(graph.get_name("State"), fields).model_json_schema()
    return schema


def _expressible(kind: Any) -> bool:
    try:
        _model("One", {"one": (kind, None)}).model_json_schema()
    except (PydanticUserError, TypeError, NameError):
        return False
    return True


def _model(name: str, fields: dict[str, Any]) -> Any:
    return create_model(name, __config__=ConfigDict(arbitrary_types_allowed=True), **fields)
