"""Small graphs whose exchanges with clients are compared: no network, and the same answer every time."""

from __future__ import annotations

import array
import asyncio
import collections
import dataclasses
import datetime as dt
import decimal
import enum
import ipaddress
import operator
import pathlib
import re
import time
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, NamedTuple

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.documents import Document
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    AnyMessage,
    BaseMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.config import get_stream_writer
from langgraph.constants import TAG_NOSTREAM
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, Send, interrupt
from pydantic import BaseModel
from typing_extensions import TypedDict

# --- talk: models that stream what they are told


class Talk(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]


class Player(BaseChatModel):
    """Plays prepared chunks, and breaks after some of them if it is told to."""

    chunks: list[AIMessageChunk]
    breaks_after: int | None = None

    @property
    def _llm_type(self) -> str:
        return "player"

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        whole = self.chunks[0]
        for chunk in self.chunks[1:]:
            whole = whole + chunk
        answer = AIMessage(content=whole.content, tool_calls=whole.tool_calls)
        return ChatResult(generations=[ChatGeneration(message=answer)])

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **_: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for n, chunk in enumerate(self.chunks):
            if n == self.breaks_after:
                raise RuntimeError("the player broke")
            yield ChatGenerationChunk(message=chunk)


def spoken(*parts: str) -> list[AIMessageChunk]:
    usage = {"input_tokens": 2, "output_tokens": len(parts), "total_tokens": 2 + len(parts)}
    last = AIMessageChunk(content="", usage_metadata=usage, response_metadata={"finish_reason": "stop"})
    return [*(AIMessageChunk(content=part) for part in parts), last]


async def repeat(state: Talk) -> dict[str, Any]:
    heard = str(state["messages"][-1].content)
    return {"messages": [await Player(chunks=spoken("You said ", heard)).ainvoke(state["messages"])]}


parrot = (
    StateGraph(Talk).add_node("repeat", repeat).add_edge(START, "repeat").add_edge("repeat", END).compile()
)


async def mumble(state: Talk) -> dict[str, Any]:
    quiet = Player(chunks=spoken("not ", "heard")).with_config(tags=[TAG_NOSTREAM])
    return {"messages": [await quiet.ainvoke(state["messages"])]}


quiet = (
    StateGraph(Talk).add_node("mumble", mumble).add_edge(START, "mumble").add_edge("mumble", END).compile()
)


async def stammer(state: Talk) -> dict[str, Any]:
    return {"messages": [await Player(chunks=spoken("I ", "am "), breaks_after=1).ainvoke(state["messages"])]}


broken = StateGraph(Talk).add_node("stammer", stammer).add_edge(START, "stammer").compile()


async def muse(state: Talk) -> dict[str, Any]:
    chunks = [
        AIMessageChunk(content=[{"type": "reasoning", "reasoning": "let me see", "index": 0}]),
        AIMessageChunk(content=[{"type": "text", "text": "It is", "index": 1}]),
        AIMessageChunk(content=[{"type": "text", "text": " so.", "index": 1}]),
    ]
    return {"messages": [await Player(chunks=chunks).ainvoke(state["messages"])]}


musing = StateGraph(Talk).add_node("muse", muse).add_edge(START, "muse").add_edge("muse", END).compile()
dialogue = (
    StateGraph(Talk)
    .add_node("repeat", repeat)
    .add_node("deeper", musing)
    .add_edge(START, "repeat")
    .add_edge("repeat", "deeper")
    .add_edge("deeper", END)
    .compile()
)


@tool
async def multiply(left: int, right: int) -> str:
    """Multiply two numbers."""
    if left == 13:
        raise ValueError("not with that number")
    return str(left * right)


def _piece(args: str, name: str | None = None, call_id: str | None = None) -> AIMessageChunk:
    piece = {"name": name, "args": args, "id": call_id, "index": 0, "type": "tool_call_chunk"}
    return AIMessageChunk(content="", tool_call_chunks=[piece])


async def think(state: Talk) -> dict[str, Any]:
    last = state["messages"][-1]
    if isinstance(last, ToolMessage):
        chunks = spoken("It makes ", str(last.content))
    else:
        number = "13" if "thirteen" in str(last.content) else "6"
        chunks = [
            AIMessageChunk(content="I multiply."),
            _piece('{"left": ' + number, "multiply", "call-1"),
            _piece(', "right": 7}'),
        ]
    return {"messages": [await Player(chunks=chunks).ainvoke(state["messages"])]}


def calls(state: Talk) -> str:
    return "tools" if getattr(state["messages"][-1], "tool_calls", None) else END


reckoner = (
    StateGraph(Talk)
    .add_node("think", think)
    .add_node("tools", ToolNode([multiply], handle_tool_errors=True))
    .add_edge(START, "think")
    .add_conditional_edges("think", calls, ["tools", END])
    .add_edge("tools", "think")
    .compile()
)


def place(_: Talk) -> dict[str, Any]:
    return {"messages": [AIMessage("placed", id="placed-1"), SystemMessage("be kind", id="rule-1")]}


def nothing(_: Talk) -> None:
    return None


def remove(_: Talk) -> dict[str, Any]:
    return {"messages": [RemoveMessage(id="rule-1")]}


placed = StateGraph(Talk).add_sequence([place, nothing, remove]).add_edge(START, "place").compile()


class Patient(Talk):
    """A conversation whose answers wait in the middle."""

    gate: str
    """Path of a file; an answer is ended when there is one."""


async def greet(_: Patient) -> dict[str, Any]:
    get_stream_writer()("greeted")
    return {"messages": [AIMessage("Hello.")]}


class Hesitant(Player):
    """Waits for the gate before its second chunk."""

    gate: pathlib.Path

    async def _astream(self, *args: Any, **options: Any) -> AsyncIterator[ChatGenerationChunk]:
        spoken_already = False
        async for chunk in super()._astream(*args, **options):
            while spoken_already and not self.gate.exists():  # noqa: ASYNC110  (another process makes it)
                await asyncio.sleep(0.01)
            spoken_already = True
            yield chunk


async def answer(state: Patient) -> dict[str, Any]:
    asked = next(message.content for message in reversed(state["messages"]) if message.type == "human")
    model = Hesitant(chunks=spoken("You said ", str(asked)), gate=pathlib.Path(state["gate"]))
    return {"messages": [await model.ainvoke(state["messages"])]}


patient = (
    StateGraph(Patient)
    .add_sequence([greet, answer])
    .add_edge(START, "greet")
    .add_edge("answer", END)
    .compile()
)


# --- count: steps, a custom event in each


class Count(TypedDict):
    left: int
    seen: Annotated[list[str], operator.add]


async def tick(state: Count) -> dict[str, Any]:
    get_stream_writer()({"left": state["left"]})
    return {"left": state["left"] - 1, "seen": [f"tick {state['left']}"]}


def again(state: Count) -> str:
    return "tick" if state["left"] > 0 else END


countdown = (
    StateGraph(Count)
    .add_node("tick", tick)
    .add_edge(START, "tick")
    .add_conditional_edges("tick", again, ["tick", END])
    .compile()
)
nested = (
    StateGraph(Count).add_node("inner", countdown).add_edge(START, "inner").add_edge("inner", END).compile()
)
deep = (
    StateGraph(Count).add_node("middle", nested).add_edge(START, "middle").add_edge("middle", END).compile()
)


class Wait(TypedDict):
    left: int
    pause: float
    seen: Annotated[list[str], operator.add]


async def wait(state: Wait) -> dict[str, Any]:
    """One quick step, then steps that take as long as the state says."""
    if state["seen"]:
        get_stream_writer()("waiting")
        await asyncio.sleep(state["pause"])
    return {"left": state["left"] - 1, "seen": [f"waited {state['left']}"]}


def longer(state: Wait) -> str:
    return "wait" if state["left"] > 0 else END


slow = (
    StateGraph(Wait)
    .add_node("wait", wait)
    .add_edge(START, "wait")
    .add_conditional_edges("wait", longer, ["wait", END])
    .compile()
)


def announce(_: Count) -> dict[str, Any]:
    write = get_stream_writer()
    write("a word")
    write({"name": "progress", "share": 0.5})
    write([1, None, True])
    write(None)
    return {"seen": ["announced"]}


herald = StateGraph(Count).add_node("announce", announce).add_edge(START, "announce").compile()


def jump(_: Count) -> Command[str]:
    return Command(update={"seen": ["jumped"]}, goto="land")


def land(_: Count) -> dict[str, Any]:
    return {"seen": ["landed"]}


jumper = (
    StateGraph(Count)
    .add_node("jump", jump, destinations=("land",))
    .add_node("land", land)
    .add_edge(START, "jump")
    .add_edge("land", END)
    .compile()
)


# --- spread: several tasks in one step; the second of two always answers after the first


class Spread(TypedDict):
    numbers: list[int]
    doubled: Annotated[list[int], operator.add]


def hand_out(state: Spread) -> list[Send]:
    return [Send("double", {"number": number, "place": n}) for n, number in enumerate(state["numbers"])]


async def double(task: dict[str, int]) -> dict[str, Any]:
    await asyncio.sleep(0.05 * task["place"])
    return {"doubled": [task["number"] * 2]}


spread = (
    StateGraph(Spread)
    .add_node("double", double)
    .add_conditional_edges(START, hand_out, ["double"])
    .add_edge("double", END)
    .compile()
)


async def east(_: Spread) -> dict[str, Any]:
    return {"doubled": [1]}


async def west(_: Spread) -> dict[str, Any]:
    await asyncio.sleep(0.05)
    return {"doubled": [2]}


sides = StateGraph(Spread).add_node("east", east).add_node("west", west).add_edge(START, "east")
sides = sides.add_edge(START, "west").compile()


# --- ask: questions to the client


class Ask(TypedDict):
    topic: str
    reply: Any
    closed: bool


def question(state: Ask) -> dict[str, Any]:
    return {"reply": interrupt({"about": state["topic"]})}


def close(_: Ask) -> dict[str, Any]:
    return {"closed": True}


ask = (
    StateGraph(Ask)
    .add_node("question", question)
    .add_node("close", close)
    .add_edge(START, "question")
    .add_edge("question", "close")
    .add_edge("close", END)
    .compile()
)
nested_ask = StateGraph(Ask).add_node("inner", ask).add_edge(START, "inner").add_edge("inner", END).compile()


class Replies(TypedDict):
    replies: Annotated[list[str], operator.add]


async def first(_: Replies) -> dict[str, Any]:
    return {"replies": [f"first {interrupt({'who': 'first'})}"]}


async def second(_: Replies) -> dict[str, Any]:
    await asyncio.sleep(0.05)
    return {"replies": [f"second {interrupt({'who': 'second'})}"]}


both = StateGraph(Replies).add_node("first", first).add_node("second", second).add_edge(START, "first")
both = both.add_edge(START, "second").compile()


def one_by_one(_: Replies) -> dict[str, Any]:
    return {"replies": [str(interrupt("one?")), str(interrupt("two?"))]}


queue = StateGraph(Replies).add_node("one_by_one", one_by_one).add_edge(START, "one_by_one").compile()


# --- fail: what can go wrong in a node


class OwnError(Exception):
    """An error of the user's own."""


class Fail(TypedDict):
    how: str
    left: int


def fail(state: Fail) -> dict[str, Any]:
    # One of each family of exceptions, with the texts under which the reference's answers were recorded.
    kinds = {
        "value": lambda: ValueError("bad value"),
        "key": lambda: KeyError("missing"),
        "own": lambda: OwnError("mine alone"),
        "os": lambda: FileNotFoundError(2, "not here"),
        "assert": lambda: AssertionError("not so"),
        "not implemented": lambda: NotImplementedError("later"),
        "group": lambda: ExceptionGroup("several", [ValueError("in a group")]),
        "empty": ValueError,
    }
    if state["left"] <= 0:
        error = kinds[state["how"]]()
        raise error
    return {"left": state["left"] - 1}


failing = StateGraph(Fail).add_node("fail", fail).add_edge(START, "fail")
failing = failing.add_conditional_edges("fail", lambda _: "fail", ["fail"]).compile()
nested_failing = StateGraph(Fail).add_node("inner", failing).add_edge(START, "inner").compile()


# --- odd: values that are not JSON by themselves


class Metal(enum.Enum):
    TIN = "tin"


@dataclasses.dataclass
class Point:
    across: int
    along: list[int]


class Label(BaseModel):
    text: str
    since: dt.datetime


class Odd(TypedDict):
    kept: Any


def gather(_: Odd) -> dict[str, Any]:
    utc = dt.UTC
    return {
        "kept": {
            "moment": dt.datetime(2001, 2, 3, 4, 5, 6, 789, tzinfo=utc),
            "local moment": dt.datetime(2001, 2, 3, 4, 5, 6),  # noqa: DTZ001
            "day": dt.date(2001, 2, 3),
            "time": dt.time(4, 5, 6),
            "span": dt.timedelta(minutes=1, milliseconds=500),
            "uuid": uuid.UUID(int=7),
            "set": {3},
            "frozen set": frozenset({4}),
            "tuple": (1, "two"),
            "bytes": b"\x00\xfe",
            "enum": Metal.TIN,
            "dataclass": Point(1, [2]),
            "model": Label(text="old", since=dt.datetime(2001, 1, 1, tzinfo=utc)),
            "decimal": decimal.Decimal("2.50"),
            "path": pathlib.Path("/some/where"),
            "nan": float("nan"),
            "infinity": float("-inf"),
            "large": 2**60 + 1,
            "keys": {1: "one", 2.5: "two and a half", None: "none"},
            "nul": "a\x00b",
            "text": 'ü\u2028\U0001f40d\n\t"',
            "message": HumanMessage("hello", id="human-1"),
            "exception": ValueError("kept"),
        }
    }


odd = StateGraph(Odd).add_node("gather", gather).add_edge(START, "gather").compile()


class Pair(NamedTuple):
    left: int
    right: int


class Plain:
    """A class of the user's own that knows nothing of serialising."""

    def __init__(self, number: int) -> None:
        self.number = number


RARE: dict[str, Callable[[], Any]] = {
    "complex": lambda: 1 + 2j,
    "pattern": lambda: re.compile("a.b"),
    "named tuple": lambda: Pair(1, 2),
    "deque": lambda: collections.deque([1]),
    "address": lambda: ipaddress.ip_address("127.0.0.1"),
    "plain object": lambda: Plain(3),
    "nested model": lambda: {"deep": [Label(text="in", since=dt.datetime(2001, 1, 1, tzinfo=dt.UTC))]},
    "document": lambda: Document("a page", metadata={"n": 1}),
    "send": lambda: Send("there", {"n": 1}),
    "command": lambda: Command(goto="there"),
    "larger": lambda: 2**70,
    "surrogate": lambda: "a\ud800b",
    "array": lambda: array.array("i", [1, 2]),
}


class Rare(TypedDict):
    kind: str
    kept: Any


def produce(state: Rare) -> dict[str, Any]:
    return {"kept": RARE[state["kind"]]()}


rare = (
    StateGraph(Rare)
    .add_node("produce", produce)
    .add_edge(START, "produce")
    .add_edge("produce", END)
    .compile()
)


def function(_: Odd) -> dict[str, Any]:
    return {"kept": lambda: None}


unstorable = StateGraph(Odd).add_node("function", function).add_edge(START, "function").compile()


# --- told: what a node is told about its run


class Told(TypedDict):
    told: dict[str, Any]


def listen(_: Told, config: RunnableConfig) -> dict[str, Any]:
    plain = (str, int, float, bool)
    shown = {key: value for key, value in config["configurable"].items() if isinstance(value, plain)}
    return {
        "told": {
            "configurable": {key: value for key, value in shown.items() if not key.startswith("__")},
            "tags": [tag for tag in config.get("tags") or [] if not tag.startswith(("seq:", "graph:"))],
            "recursion_limit": config.get("recursion_limit"),
            "metadata": {
                key: config["metadata"][key]
                for key in ("note", "graph_id", "run_attempt")
                if key in config["metadata"]
            },
        }
    }


told = StateGraph(Told).add_node("listen", listen).add_edge(START, "listen").compile()


# --- busy in a thread: an ordinary function that can't be cancelled at an await


def doze(state: Wait) -> dict[str, Any]:
    end = time.monotonic() + state["pause"]
    while time.monotonic() < end:
        time.sleep(0.01)
    return {"left": 0, "seen": ["dozed"]}


dozing = StateGraph(Wait).add_node("doze", doze).add_edge(START, "doze").compile()


def factory(config: RunnableConfig) -> Any:
    return countdown
