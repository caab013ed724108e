"""The config and context with which a run's graph is called.

The daemon has merged assistant, thread and request into ``kwargs["config"]`` and ``kwargs["context"]``; what depends on
the process or on the graph is added here: the versions and the attempt in the metadata, the run's id as id of its trace,
and the restriction of the context to what the graph's context schema knows.
"""

from __future__ import annotations

import dataclasses
import os
import uuid
from importlib import metadata
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from pydantic import BaseModel

import gatewayd
from gatewayd.channel import orders
from gatewayd.worker import graphs

_LANGGRAPH_VERSION = metadata.version("langgraph")

# What a request may set beside `configurable` and `metadata`. Its `run_id` would collide with ours, its `callbacks` are
# text where langchain wants objects.
_PASSED_ON = ("tags", "recursion_limit", "max_concurrency", "run_name")

_SERVER_KEYS = frozenset(
    {
        "run_id",
        "thread_id",
        "assistant_id",
        "graph_id",
        "user_id",
        "cron_id",
        "checkpoint_id",
        "checkpoint_ns",
        "checkpoint_map",
    }
)
_SERVER_PREFIXES = ("__", "langgraph_", "langsmith-")


def build(run: orders.RunOrder, pregel: graphs.AnyPregel) -> tuple[RunnableConfig, dict[str, Any] | None]:
    """Return config and context for `pregel.astream(input, config, context=context)`."""
    given: dict[str, Any] = run.kwargs.get("config") or {}
    context = _known(run.kwargs.get("context") or {}, graphs.context_keys(pregel))
    config: dict[str, Any] = {key: given[key] for key in _PASSED_ON if given.get(key)}
    config["metadata"] = {**(given.get("metadata") or {}), **_about(run)}
    config["configurable"] = _configurable(given.get("configurable") or {}, context if run.context_given else None)
    config["run_id"] = uuid.UUID(run.run_id)
    return cast(RunnableConfig, config), context if context or _makes_instances(pregel) else None


def _about(run: orders.RunOrder) -> dict[str, Any]:
    """Return what the metadata says about this start and this server."""
    return {
        "run_attempt": run.attempt,
        "langgraph_version": _LANGGRAPH_VERSION,
        "langgraph_api_version": gatewayd.__version__,
        "langgraph_plan": "self-hosted",
        "langgraph_host": "self-hosted",
        "langgraph_api_url": os.environ.get("LANGGRAPH_API_URL"),
    }


def _known(context: dict[str, Any], keys: frozenset[str] | None) -> dict[str, Any]:
    """Return the part of the context that the graph's schema knows; all of it without a schema."""
    return dict(context) if keys is None else {key: value for key, value in context.items() if key in keys}


def _configurable(given: dict[str, Any], context: dict[str, Any] | None) -> dict[str, Any]:
    """Return the configurable: as given, or, when the request had a context, that context and the server's keys.

    Keys of langgraph's own (`__pregel_…`) steer its engine and are never taken from stored data.
    """
    kept = {key: value for key, value in given.items() if not key.startswith("__pregel_")}
    if context is None:
        return kept
    ours = {key: value for key, value in kept.items() if key in _SERVER_KEYS or key.startswith(_SERVER_PREFIXES)}
    return {**context, **ours}


def _makes_instances(pregel: graphs.AnyPregel) -> bool:
    """Whether langgraph makes an object of the context: then an empty one means its defaults, not None."""
    schema: Any = pregel.context_schema
    return isinstance(schema, type) and (dataclasses.is_dataclass(schema) or issubclass(schema, BaseModel))
