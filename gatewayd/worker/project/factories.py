"""Graph factories: callables that make a graph for each use, and what their parameters want to be given.

A factory takes a config, a `ServerRuntime`, both or nothing. Which parameter wants what is told by its
annotation, in any order; a parameter without one wants the config, whatever its name.
"""

from __future__ import annotations

import functools
import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen
from langchain_core.runnables import RunnableConfig
from langgraph_sdk.runtime import ServerRuntime

from gatewayd.worker import langgraph_internals as internals
from gatewayd.worker.project import usercode


@frozen(kw_only=True)
class Factory:
    """A callable that makes a graph, and what its parameters want to be given."""

    call: Callable[..., Any]
    positional: tuple[bool, ...]
    """For each positional-only parameter whether it wants the runtime (else the config)."""
    named: Mapping[str, bool]
    """Likewise for all others, by name."""

    def __call__(self, config: RunnableConfig, runtime: ServerRuntime[Any]) -> Any:
        """Call it; both arguments are given where they are wanted."""
        args = [runtime if wanted else config for wanted in self.positional]
        named = {name: runtime if wanted else config for name, wanted in self.named.items()}
        return self.call(*args, **named)


def read(path: str, call: Callable[..., Any]) -> Factory:
    """Read off the parameters what each wants to be given; raises `LoadError` for more than two."""
    try:
        parameters = list(inspect.signature(call).parameters.values())
    except (TypeError, ValueError):
        raise usercode.LoadError(path, "its parameters can't be read") from None
    bound = call.keywords if isinstance(call, functools.partial) else {}
    open_ended = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    wanting = [
        parameter
        for parameter in parameters
        if parameter.kind not in open_ended and parameter.name not in bound
    ]
    if len(wanting) > 2:
        names = ", ".join(parameter.name for parameter in wanting)
        raise usercode.LoadError(path, f"a graph factory takes a config, a runtime or both, not ({names})")
    hints = _hints(call)
    positional: list[bool] = []
    named: dict[str, bool] = {}
    for one in wanting:
        hint = hints.get(one.name, one.annotation)
        wants_runtime = _is_runtime(hint)
        if not (wants_runtime or _is_config(hint) or _needs_something(one)):
            continue
        if one.kind is inspect.Parameter.POSITIONAL_ONLY:
            positional.append(wants_runtime)
        else:
            named[one.name] = wants_runtime
    return Factory(call=call, positional=tuple(positional), named=named)


def _needs_something(parameter: inspect.Parameter) -> bool:
    """Whether a parameter must be given the config, for want of an annotation that says what it is.

    One with a default of its own is left alone; a bare ``config=None`` is not.
    """
    empty = inspect.Parameter.empty
    return parameter.default is empty or (parameter.annotation is empty and parameter.default is None)


def _hints(call: Any) -> dict[str, Any]:
    """Return the annotations of a callable of any kind, resolved where that is possible."""
    while isinstance(call, functools.partial):
        call = call.func
    if not inspect.isroutine(call) and not isinstance(call, type):
        call = type(call).__call__
    elif isinstance(call, type):
        call = inspect.getattr_static(call, "__init__")
    try:
        return typing.get_type_hints(inspect.unwrap(call))
    except Exception:
        # Names imported for type checkers only; the signature's annotations are read as text then.
        return {}


def _is_runtime(hint: Any) -> bool:
    return _mentions(
        hint, "ServerRuntime", (ServerRuntime, internals.ExecutionRuntime, internals.ReadRuntime)
    )


def _is_config(hint: Any) -> bool:
    return _mentions(hint, "RunnableConfig", (RunnableConfig, dict, Mapping, Any))


def _mentions(hint: Any, name: str, wanted: tuple[Any, ...]) -> bool:
    """Whether an annotation is one of `wanted`, alone, with parameters, or as a member of a union."""
    if isinstance(hint, str):
        return re.search(rf"\b{name}\b", hint) is not None
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType, typing.Annotated):
        return any(_mentions(part, name, wanted) for part in typing.get_args(hint))
    return any(hint is kind or origin is kind for kind in wanted)
