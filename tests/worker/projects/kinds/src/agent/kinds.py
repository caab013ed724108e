"""Every kind of object that may stand behind a graph's spec, and some that may not.

The graphs are all alike: one node that returns what it was told when the graph was made.
"""

import asyncio
import contextlib
import dataclasses
import functools
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any, Optional, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint
from langgraph.graph import START, StateGraph
from langgraph.store.memory import InMemoryStore
from langgraph_sdk.runtime import ServerRuntime

LOG: list[str] = []
"""What happened in the factories, in order."""

GIVEN: dict[str, Any] = {}
"""The arguments that the factories were last called with."""


class State(TypedDict, total=False):
    out: Any


@dataclasses.dataclass
class Ctx:
    language: str = "en"


def built(word: str) -> StateGraph:
    def say(_state: State) -> State:
        return {"out": word}

    return StateGraph(State).add_node("say", say).add_edge(START, "say")


compiled = built("compiled").compile()
named = built("named").compile(name="own name")
uncompiled = built("uncompiled")
own_saver = built("own saver").compile(checkpointer=InMemorySaver(), store=InMemoryStore())
kept_off = built("kept off").compile(checkpointer=False)


@entrypoint()
async def functional(given: Any) -> Any:
    return {"out": "functional"}


# -- factories


def nothing():
    return built("nothing").compile()


def bare(config):
    GIVEN["config"] = config
    return built("bare")


def bare_named_runtime(runtime):
    GIVEN["runtime"] = runtime
    return built("bare_named_runtime")


def defaulted(config=None):
    GIVEN["config"] = config
    return built("defaulted")


def keyword_only(*, config: dict[str, Any], runtime: ServerRuntime[Ctx]):
    GIVEN.update(config=config, runtime=runtime)
    return built("keyword_only")


def swapped(runtime: Optional[ServerRuntime], config):  # noqa: UP045 (the older spelling is what is tried)
    GIVEN.update(config=config, runtime=runtime)
    return built("swapped")


def textual(runtime: "ServerRuntime[Missing]", config: "RunnableConfig"):  # noqa: F821 (an unresolvable annotation)
    GIVEN.update(config=config, runtime=runtime)
    return built("textual")


def annotated(runtime: Annotated[ServerRuntime, "why"], /):
    GIVEN["runtime"] = runtime
    return built("annotated")


def with_model(config: RunnableConfig, model="small"):
    GIVEN.update(config=config, model=model)
    return built("with_model")


bound = functools.partial(with_model, model="large")


class Maker:
    def __call__(self, config: RunnableConfig, runtime: ServerRuntime):
        GIVEN.update(config=config, runtime=runtime)
        return built("instance")


instance = Maker()


async def coroutine(config):
    await asyncio.sleep(0)
    return built("coroutine")


@contextlib.asynccontextmanager
async def async_manager(config) -> AsyncIterator[Any]:
    LOG.append("enter")
    try:
        yield built("async_manager")
    except BaseException as error:
        LOG.append(type(error).__name__)
        raise
    finally:
        LOG.append("exit")


@contextlib.contextmanager
def manager(runtime: ServerRuntime) -> Iterator[Any]:
    LOG.append("enter")
    try:
        yield built("manager").compile(name="managed")
    finally:
        LOG.append("exit")


@contextlib.asynccontextmanager
async def swallowing() -> AsyncIterator[Any]:
    with contextlib.suppress(BaseException):
        yield built("swallowing")


def changing(config):
    config["tags"].append("made")
    config["metadata"]["made"] = True
    config["callbacks"] = ["handler"]
    config["configurable"]["made"] = True
    return built("changing").compile().with_config(recursion_limit=33)


def saver_within():
    return built("saver_within").compile(checkpointer=InMemorySaver())


# -- what is no graph


async def generator():
    yield built("generator")


def none():
    return None


@contextlib.contextmanager
def manager_of_none() -> Iterator[Any]:
    try:
        yield None
    finally:
        LOG.append("left")


def failing():
    raise ZeroDivisionError("no graph today")


def three(config, runtime: ServerRuntime, more):
    return built("three")


number = 3
broken = StateGraph(State)
