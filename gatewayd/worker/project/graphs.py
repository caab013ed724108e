"""The project's graphs: loaded once at start, opened once per use.

What stands behind a graph's spec may be a graph, an uncompiled `StateGraph` or a factory. `Graphs.load` tells
them apart and fails for anything else. `Graphs.open` yields a graph ready to be used by one run or one call:
a shallow copy whose checkpointer, store and name are ours. Factories are called at each opening, never at
start and never cached; a context manager that they return is left when the use is over.

The copy is Python's own (about 2 µs). `Pregel.copy` validates the whole graph again and loses the output
mappers and the serialiser's allow-list of a compiled graph; lending the saver through the config instead
(`__pregel_checkpointer`) would make langgraph take the graph for a subgraph.
"""

from __future__ import annotations

import copy
import dataclasses
import logging
import os
import typing
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

from attrs import define, field
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import StateGraph
from langgraph.pregel import Pregel
from langgraph.store.base import BaseStore
from langgraph_sdk.runtime import AccessContext, ServerRuntime
from pydantic import AliasChoices, BaseModel
from typing_extensions import is_typeddict

from gatewayd.errors import NotFound, Rejected
from gatewayd.worker import langgraph_internals as internals
from gatewayd.worker.project import factories, faults, usercode

logger = logging.getLogger(__name__)

AnyPregel = Pregel[Any, Any, Any, Any]
Saver = BaseCheckpointSaver[Any]

_UNNAMED = "LangGraph"
"""The name langgraph gives to a graph that was compiled without one."""


class InvalidGraph(faults.Renamed, ValueError):
    """A factory returned something that is no graph; HTTP says 424, a run ends with this error."""

    wire_name: ClassVar[str] = "HTTPException"

    def __init__(self, graph_id: str, result: object) -> None:
        super().__init__(f"424: Graph '{graph_id}' is not valid. Review graph registration. {result!r}")
        self.detail = f"Graph '{graph_id}' is not valid. Review graph registration. {result!r}"


@define(kw_only=True)
class Loaded:
    """One graph of the project."""

    description: str | None
    target: AnyPregel | factories.Factory
    warned: set[str] = field(factory=set)
    """Which of "checkpointer" and "store" the log already says is replaced."""


@define
class Graphs:
    """All graphs of the project, by graph id."""

    _loaded: dict[str, Loaded]

    @classmethod
    def load(cls, graphs: Mapping[str, tuple[str, str | None]], folder: Path) -> Graphs:
        """Import every "path:attribute" (graph id → path, description); raises `usercode.LoadError`."""
        loaded: dict[str, Loaded] = {}
        for graph_id, (path, description) in graphs.items():
            try:
                target = _classify(path, usercode.load(path, folder))
            except usercode.LoadError as error:
                raise usercode.LoadError(path, error.cause, graph_id) from error
            loaded[graph_id] = Loaded(description=description, target=target)
            if isinstance(target, Pregel):
                _warn_of_replaced(graph_id, loaded[graph_id], target)
        return cls(loaded)

    @property
    def ids(self) -> list[str]:
        return sorted(self._loaded)

    def description(self, graph_id: str) -> str | None:
        """Return what langgraph.json says the graph is for. Raises NotFound."""
        return self._find(graph_id).description

    @asynccontextmanager
    async def open(
        self,
        graph_id: str,
        *,
        config: RunnableConfig,
        access_context: AccessContext,
        user: Any = None,
        store: BaseStore | None = None,
        context: Any = None,
        saver: Saver | None = None,
    ) -> AsyncIterator[AnyPregel]:
        """Yield the graph for one use, with `saver` and `store` instead of whatever was compiled into it.

        A factory sees `config` with all keys filled in and its server keys; what it changes beside
        `configurable` (tags, metadata, callbacks, …) is taken over into `config`. `context` is the raw one of
        the request. Raises NotFound for an unknown graph, `InvalidGraph`, and whatever a factory raises. An
        exception of the use is shown to the factory's context manager, but can't be swallowed by it: the run
        would pass for a success.
        """
        loaded = self._find(graph_id)
        if isinstance(loaded.target, Pregel):
            yield _equip(graph_id, loaded.target, saver, store)
            return
        runtime = _runtime(access_context, user, store, context)
        stack = AsyncExitStack()
        try:
            graph = await _make(
                graph_id, loaded.target, _seen_by_factory(config, runtime, saver), runtime, config, stack
            )
            _warn_of_replaced(graph_id, loaded, graph)
            yield _equip(graph_id, graph, saver, store)
        except BaseException as failure:
            await stack.__aexit__(type(failure), failure, failure.__traceback__)
            raise
        else:
            await stack.aclose()

    @asynccontextmanager
    async def open_for_client(
        self, graph_id: str, config: RunnableConfig, access_context: AccessContext, **given: Any
    ) -> AsyncIterator[AnyPregel]:
        """
        Do as `open`, for a call: what a factory finds wrong with the config (a ValueError) is the caller's
        fault.
        """
        try:
            async with self.open(graph_id, config=config, access_context=access_context, **given) as graph:
                yield graph
        except InvalidGraph:
            raise
        except ValueError as error:
            raise Rejected(str(error)) from error

    def _find(self, graph_id: str) -> Loaded:
        try:
            return self._loaded[graph_id]
        except KeyError:
            raise NotFound(f"Graph '{graph_id}' not found. Expected one of: {self.ids}") from None


def context_keys(graph: AnyPregel) -> frozenset[str] | None:
    """
    Return the names that the graph's context schema knows, or None if it has none (then anything is taken).
    """
    schema: Any = graph.context_schema
    if schema is None:
        return None
    if dataclasses.is_dataclass(schema):
        return frozenset(part.name for part in dataclasses.fields(schema) if part.init)
    if is_typeddict(schema):
        return frozenset(schema.__required_keys__ | schema.__optional_keys__)
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        names: set[str] = set()
        for name, part in schema.model_fields.items():
            aliases = part.validation_alias
            several = aliases.choices if isinstance(aliases, AliasChoices) else [aliases]
            names.update([name, *(alias for alias in several if isinstance(alias, str))])
        return frozenset(names)
    return None


def _classify(path: str, found: object) -> AnyPregel | factories.Factory:
    """Return a compiled graph or a factory; raises LoadError for anything else."""
    if isinstance(found, Pregel):
        return found
    if isinstance(found, StateGraph):
        try:
            return found.compile()
        except Exception as error:
            raise usercode.LoadError(path, f"can't be compiled: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise usercode.LoadError(
            path,
            f"neither a graph nor a function that makes one, but a {type(found).__module__}.{type(found).__qualname__}",
        )
    return factories.read(path, found)


def _equip(graph_id: str, graph: AnyPregel, saver: Saver | None, store: BaseStore | None) -> AnyPregel:
    """Return a shallow copy of the graph with our checkpointer, store and name."""
    own = copy.copy(graph)
    own.checkpointer = saver
    own.store = store
    if own.name == _UNNAMED:
        own.name = graph_id
    return own


def _runtime(
    access_context: AccessContext, user: Any, store: BaseStore | None, context: Any
) -> internals.ExecutionRuntime[Any] | internals.ReadRuntime[Any]:
    """Return what a factory gets for a parameter annotated `ServerRuntime`."""
    given: Any = store  # typed as never None, but a server may have no store
    if access_context == "threads.create_run":
        return internals.ExecutionRuntime(
            access_context=access_context, user=user, store=given, context=context
        )
    return internals.ReadRuntime(access_context=access_context, user=user, store=given)


def _defaults() -> dict[str, Any]:
    """Return the keys that a factory may count on besides those the run has."""
    limit = int(os.environ.get("LANGGRAPH_DEFAULT_RECURSION_LIMIT", "10007"))
    return {"tags": [], "metadata": {}, "callbacks": None, "recursion_limit": limit}


def _seen_by_factory(
    config: RunnableConfig,
    runtime: internals.ExecutionRuntime[Any] | internals.ReadRuntime[Any],
    saver: Saver | None,
) -> RunnableConfig:
    """Return a copy of the config with every key filled in, for a factory to read and change."""
    configurable: dict[str, Any] = dict(config.get("configurable") or {})
    configurable[internals.RUNTIME] = runtime
    if saver is not None:
        configurable[internals.CHECKPOINTER] = saver
    configurable[internals.FOR_EXECUTION] = isinstance(runtime, internals.ExecutionRuntime)
    seen = {**_defaults(), **config, "configurable": configurable}
    seen["tags"] = list(seen["tags"] or ())
    seen["metadata"] = dict(seen["metadata"] or {})
    return typing.cast(RunnableConfig, seen)


def _take_over(config: RunnableConfig, seen: RunnableConfig) -> None:
    """Put what a factory has changed in its copy, `configurable` excepted, into the config of the use.

    Untouched defaults are not put there: a recursion limit, say, would win over the one bound to the graph.
    """
    own: dict[str, Any] = typing.cast(dict[str, Any], config)
    defaults = _defaults()
    for key, value in seen.items():
        if key != "configurable" and (key in own or key not in defaults or value != defaults[key]):
            own[key] = value


async def _make(
    graph_id: str,
    factory: factories.Factory,
    seen: RunnableConfig,
    runtime: ServerRuntime[Any],
    config: RunnableConfig,
    stack: AsyncExitStack,
) -> AnyPregel:
    """Call the factory and return its graph, compiled; a context manager is entered on `stack`."""
    result = factory(seen, runtime)
    if isinstance(result, Awaitable):
        result = await result
    # A graph is asked first: neither kind is a context manager today, but either may become one.
    if not isinstance(result, Pregel | StateGraph):
        if hasattr(type(result), "__aenter__"):
            result = await stack.enter_async_context(result)
        elif hasattr(type(result), "__enter__"):
            result = stack.enter_context(result)
    _take_over(config, seen)
    if isinstance(result, StateGraph):
        return result.compile()
    if isinstance(result, Pregel):
        return result
    raise InvalidGraph(graph_id, result)


def _warn_of_replaced(graph_id: str, loaded: Loaded, graph: AnyPregel) -> None:
    """Say once per graph that what the user compiled into it is not used."""
    own: dict[str, object] = {"checkpointer": graph.checkpointer, "store": graph.store}
    for word, value in own.items():
        if isinstance(value, BaseCheckpointSaver | BaseStore) and word not in loaded.warned:
            loaded.warned.add(word)
            logger.warning(
                "graph '%s' is compiled with a %s of its own; the server's is used instead", graph_id, word
            )
