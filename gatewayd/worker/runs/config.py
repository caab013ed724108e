"""The config and context with which a run's graph is called.

The daemon has merged assistant, thread and request into ``kwargs["config"]`` and ``kwargs["context"]``; what
depends on the process or on the graph is added here: the versions and the attempt in the metadata, the run's
id as id of its trace, and the restriction of the context to what the graph's context schema knows.
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
from gatewayd.model.run import CONTEXT_GIVEN
from gatewayd.worker import langgraph_internals as internals
from gatewayd.worker.project import graphs

_LANGGRAPH_VERSION = metadata.version("langgraph")

# What a request may set beside `configurable` and `metadata`. Its `run_id` would collide with ours, its
# `callbacks` are text where langchain wants objects.
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


def prepare(run: orders.RunOrder) -> RunnableConfig:
    """
    Return the config as far as it is known before the graph is: what a factory is given, and may change.
    """
    given: dict[str, Any] = run.kwargs.get("config") or {}
    config: dict[str, Any] = {key: given[key] for key in _PASSED_ON if given.get(key) is not None}
    config["metadata"] = {**(given.get("metadata") or {}), **_about(run)}
    # Keys of langgraph's own (`__pregel_…`) steer its engine and are never taken from stored data, but for
    # one.
    configurable: dict[str, Any] = given.get("configurable") or {}
    config["configurable"] = {
        key: value
        for key, value in configurable.items()
        if not internals.is_own(key) and key != CONTEXT_GIVEN
    }
    if configurable.get(internals.RESUMING) is True:
        config["configurable"][internals.RESUMING] = True
    config["run_id"] = uuid.UUID(run.run_id)
    return cast(RunnableConfig, config)


def build(
    run: orders.RunOrder, pregel: graphs.AnyPregel, prepared: RunnableConfig | None = None
) -> tuple[RunnableConfig, dict[str, Any] | None]:
    """Return config and context for `pregel.astream(input, config, context=context)`.

    `prepared` is the config that `prepare` made and the graph was opened with, so that a factory's changes
    count.
    """
    config = prepare(run) if prepared is None else prepared.copy()
    context = _known(run.kwargs.get("context") or {}, graphs.context_keys(pregel))
    if run.context_given:
        config["configurable"] = {**context, **_of_server(config.get("configurable") or {})}
    return config, context if context or _makes_instances(pregel) else None


def _about(run: orders.RunOrder) -> dict[str, Any]:
    """Return what the metadata says about this start and this server."""
    return {
        "run_id": run.run_id,  # what langgraph knows a run by that goes on
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


def _of_server(configurable: dict[str, Any]) -> dict[str, Any]:
    """Return the keys that the server put there: all that stays when the request has a context."""
    return {k: v for k, v in configurable.items() if k in _SERVER_KEYS or k.startswith(_SERVER_PREFIXES)}


def _makes_instances(pregel: graphs.AnyPregel) -> bool:
    """Whether langgraph makes an object of the context: then an empty one means its defaults, not None."""
    schema: Any = pregel.context_schema
    return isinstance(schema, type) and (dataclasses.is_dataclass(schema) or issubclass(schema, BaseModel))
