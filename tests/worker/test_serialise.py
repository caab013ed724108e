"""Live objects to the wire's JSON."""

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import ipaddress
import pathlib
import re
import types
import uuid
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    AnyMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langgraph.types import Command, Interrupt, Send
from pydantic import BaseModel

from gatewayd import wire
from gatewayd.worker.states import serialise

UTC = dt.UTC


class Pair(NamedTuple):
    p: int
    q: int


class Triple(tuple[int, ...]):
    __slots__ = ()


class Colour(enum.Enum):
    RED = "red"


class Word(str, enum.Enum):  # noqa: UP042 (the older spelling is what is tried)
    ODD = "o\ud800"


@dataclasses.dataclass
class Data:
    a: int
    b: Any = None
    _hidden: int = 3


class Model(BaseModel):
    x: int | str = 1
    when: dt.datetime = dt.datetime(2026, 1, 1)  # noqa: DTZ001 (naive on purpose)
    cost: decimal.Decimal = decimal.Decimal("1.50")


class Plain:
    def __init__(self) -> None:
        self.a = 1


class Old:
    def dict(self) -> dict[str, Any]:
        return {"from": "dict"}


class Own(Exception):
    pass


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (dt.datetime(2024, 1, 2, 3, 4, 5, 678, UTC), '"2024-01-02T03:04:05.000678+00:00"'),
        (dt.datetime(2024, 1, 2, 3, 4, 5), '"2024-01-02T03:04:05"'),  # noqa: DTZ001
        (
            dt.datetime(2024, 1, 2, tzinfo=dt.timezone(dt.timedelta(hours=2))),
            '"2024-01-02T00:00:00+02:00"',
        ),
        (dt.date(2024, 1, 2), '"2024-01-02"'),
        (dt.time(3, 4, 5), '"03:04:05"'),
        (dt.timedelta(days=1, seconds=2, microseconds=5), "86402.000005"),
        (dt.timedelta(seconds=90), "90.0"),
        (b"\x00\xffabc", '"AP9hYmM="'),
        (bytearray(b"ab"), '"YWI="'),
        ({1}, "[1]"),
        (frozenset([1]), "[1]"),
        (collections.deque([1, 2]), "[1,2]"),
        ((1, 2), "[1,2]"),
        (Pair(1, 2), '{"p":1,"q":2}'),
        (Triple((1, 2)), "null"),
        (Colour.RED, '"red"'),
        (uuid.UUID(int=5), '"00000000-0000-0000-0000-000000000005"'),
        (ipaddress.ip_address("1.2.3.4"), '"1.2.3.4"'),
        (ipaddress.ip_network("10.0.0.0/8"), '"10.0.0.0/8"'),
        (pathlib.Path("/srv/x"), '"/srv/x"'),
        (UTC, '"UTC"'),
        (decimal.Decimal("1.50"), "1.5"),
        (decimal.Decimal(10), "10"),
        (decimal.Decimal("NaN"), "null"),
        (decimal.Decimal("-Infinity"), "null"),
        (float("nan"), "null"),
        (float("inf"), "null"),
        (2**53 + 1, "9007199254740993"),
        (2**64 - 1, "18446744073709551615"),
        ({1: "a", 2.5: "b", None: "c", Colour.RED: "d"}, '{"1":"a","2.5":"b","null":"c","red":"d"}'),
        (re.compile("a.b", re.IGNORECASE | re.DOTALL), '"a.b"'),
        (1j, "null"),
        (object(), "null"),
        (Plain(), "null"),
        (lambda: 1, "null"),
        (Model, "null"),
        (Plain, "null"),
        (types.MappingProxyType({"a": 1}), "null"),
        (Old(), '{"from":"dict"}'),
        (Data(1, [Data(2)]), '{"a":1,"b":[{"a":2,"b":null}]}'),
        (Model(), '{"x":1,"when":"2026-01-01T00:00:00","cost":1.5}'),
        (ValueError("v"), '{"error":"ValueError","message":"v"}'),
        (Own("o"), '{"error":"Own","message":"An internal error occurred"}'),
        (Send("x", {"a": 1}), '{"node":"x","args":{"a":1}}'),
        (Command(goto="x", update={"a": 1}), '{"graph":null,"update":{"a":1},"resume":null,"goto":"x"}'),
        (
            Command(goto=Send("x", 1)),
            '{"graph":null,"update":null,"resume":null,"goto":{"node":"x","args":1}}',
        ),
        (Document("pc"), '{"id":null,"metadata":{},"page_content":"pc","type":"Document"}'),
        ("é\u2028\U0001f600\n", '"é\u2028\U0001f600\\n"'),
    ],
    ids=lambda one: re.sub(r" at 0x[0-9a-f]+", "", repr(one)),
)
def test_a_value_has_the_form_of_the_contract(value: Any, text: str) -> None:
    assert serialise.dumps(value).decode() == text


MESSAGES = [
    (
        HumanMessage("hi", id="h1"),
        '{"content":"hi","additional_kwargs":{},"response_metadata":{},"type":"human","name":null,"id":"h1"}',
    ),
    (
        SystemMessage("hi", id="s1"),
        '{"content":"hi","additional_kwargs":{},"response_metadata":{},"type":"system","name":null,"id":"s1"}',
    ),
    (
        AIMessage("yo", id="a1", tool_calls=[{"name": "t", "args": {"q": 1}, "id": "tc1"}]),
        (
            '{"content":"yo","additional_kwargs":{},"response_metadata":{},"type":"ai","name":null,"id":"a1",'
            '"tool_calls":[{"name":"t","args":{"q":1},"id":"tc1","type":"tool_call"}],"invalid_tool_calls":[],'
            '"usage_metadata":null}'
        ),
    ),
    (
        AIMessageChunk("yo", id="a1"),
        (
            '{"content":"yo","additional_kwargs":{},"response_metadata":{},"type":"AIMessageChunk","name":null,"id":"a1",'
            '"tool_calls":[],"invalid_tool_calls":[],"usage_metadata":null,"tool_call_chunks":[],"chunk_position":null}'
        ),
    ),
    (
        ToolMessage("ok", id="t1", tool_call_id="tc1", artifact={"z": 1}),
        (
            '{"content":"ok","additional_kwargs":{},"response_metadata":{},"type":"tool","name":null,"id":"t1",'
            '"tool_call_id":"tc1","artifact":{"z":1},"status":"success"}'
        ),
    ),
    (
        HumanMessage("x", id="1", foo="bar"),
        '{"content":"x","additional_kwargs":{},"response_metadata":{},"type":"human","name":null,"id":"1","foo":"bar"}',
    ),
]


def test_an_interrupt_is_its_fields_in_the_contracts_order() -> None:
    text = '{"value":{"q":1},"id":"i","response_schema":null}'
    if "response_schema" not in {field.name for field in dataclasses.fields(Interrupt)}:  # langgraph 1.2.0
        text = '{"value":{"q":1},"id":"i"}'
    assert serialise.dumps(Interrupt(value={"q": 1}, id="i")).decode() == text


@pytest.mark.parametrize(("message", "text"), MESSAGES, ids=lambda one: type(one).__name__)
def test_a_message_has_the_keys_of_the_contract_in_their_order(message: AnyMessage, text: str) -> None:
    assert serialise.dumps(message).decode() == text


def chunks() -> AIMessageChunk:
    parts = [
        {"name": "add", "args": '{"a":', "id": "c", "index": 0},
        {"name": None, "args": "1}", "id": None, "index": 0},
    ]
    made = [AIMessageChunk("", id="1", tool_call_chunks=[part]) for part in parts]
    return made[0] + made[1]


@pytest.mark.parametrize(
    "message",
    [
        *(message for message, _ in MESSAGES),
        RemoveMessage(id="r"),
        chunks(),
        AIMessage("m", usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}),
        HumanMessage(
            [{"type": "text", "text": "a"}], additional_kwargs={"when": dt.date(2026, 1, 1), "set": {1}}
        ),
        AIMessage("m").model_copy(update={"id": "later"}),
        AIMessageChunk.model_construct(content="c", id="1"),
    ],
    ids=lambda one: re.sub(r" at 0x[0-9a-f]+", "", repr(one)),
)
def test_the_short_way_for_messages_says_what_model_dump_says(message: AnyMessage) -> None:
    assert serialise.dumps(message) == serialise.dumps(message.model_dump())


def test_a_message_class_of_the_users_is_asked_itself() -> None:
    class Signed(HumanMessage):
        def model_dump(self, **_: Any) -> dict[str, Any]:
            return {"signed": self.content}

    assert serialise.dumps([Signed("x")]) == b'[{"signed":"x"}]'


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (2**64, "Integer exceeds 64-bit range"),
        ({"deep": [-(2**63) - 1]}, "Integer exceeds 64-bit range"),
        ({(1, 2): 3}, "Dict key must a type serializable"),
    ],
)
def test_what_has_no_json_form_is_refused_by_a_type_error(value: Any, reason: str) -> None:
    with pytest.raises(TypeError, match=reason):
        serialise.dumps(value)


def test_a_cycle_is_refused() -> None:
    ring: list[Any] = []
    ring.append(ring)
    with pytest.raises(TypeError, match="Recursion limit reached"):
        serialise.dumps(ring)


def test_masked_messages_of_exceptions_are_shown_on_demand() -> None:
    assert serialise.dumps([Own("o"), {1}], full=True) == b'[{"error":"Own","message":"o"},[1]]'


def test_a_nul_becomes_the_replacement_character_and_its_spelling_does_not() -> None:
    text = serialise.dumps({"a\0b": "\0\0 \\u0000 \\\0 \\\\u0000"})
    assert text == rb'{"a\ufffdb":"\ufffd\ufffd \\u0000 \\\ufffd \\\\u0000"}'


@given(
    st.recursive(
        st.text(alphabet="\0\\u0x"), lambda inner: st.lists(inner) | st.dictionaries(st.text("\0\\u0"), inner)
    )
)
def test_nuls_are_repaired_in_whatever_surrounding(value: Any) -> None:
    assert wire.loads(serialise.dumps(value)) == wire.without_nul(value)


def test_times_of_numpy_that_orjson_refuses_become_text_or_null() -> None:
    numpy = pytest.importorskip("numpy")
    day, none = numpy.datetime64("2026-11-30"), numpy.datetime64("NaT")
    value = {
        "none": [none, numpy.datetime64("NaT", "ns")],
        "fine": numpy.datetime64("1970-01-02T12:00:00.000000000001"),
        "far": numpy.datetime64("12026-11-30"),
        "array": numpy.array([["1970-01-02", "NaT"]], dtype="datetime64[ps]"),
        "days": numpy.array([["2026-11-30", "NaT", "12026-11-30"]], dtype="datetime64[D]"),
        "day": day,
        "data": Data(1, none),
    }
    assert wire.loads(serialise.dumps(value)) == {
        "none": [None, None],
        "fine": "1970-01-02T12:00:00.000000000001",
        "far": "12026-11-30",
        "array": [["1970-01-02T00:00:00.000000000000", None]],
        "days": [["2026-11-30T00:00:00", None, "12026-11-30"]],
        "day": "2026-11-30T00:00:00",
        "data": {"a": 1, "b": None},
    }
    assert serialise.dumps({"day": day, "bad": "\ud800"}) == b'{"day":"2026-11-30T00:00:00","bad":"?"}'


def test_scalars_of_numpy_are_keys_and_the_wide_ones_numbers() -> None:
    numpy = pytest.importorskip("numpy")
    value = {
        numpy.int64(3): numpy.longdouble(1.5),
        numpy.bool_(True): numpy.clongdouble(1j),
        numpy.float32(0.5): 1,
        numpy.str_("word"): 2,
        numpy.datetime64("2026-11-30"): 3,
        numpy.timedelta64(2, "s"): 4,
    }
    assert serialise.dumps(value) == (
        b'{"3":1.5,"true":null,"0.5":1,"word":2,"2026-11-30T00:00:00":3,"2.0":4}'
    )
    with pytest.raises(TypeError):
        serialise.dumps({numpy.bytes_(b"b"): 1})


@pytest.mark.parametrize("key", ["\ud800", (1, 2)])
def test_a_cycle_is_refused_also_beside_what_has_to_be_repaired(key: Any) -> None:
    value: dict[Any, Any] = {key: 1}
    value["self"] = value
    with pytest.raises(TypeError):
        serialise.dumps(value)
    assert wire.loads(serialise.shown(value))


def test_lone_surrogates_become_question_marks_wherever_they_are() -> None:
    bad = "a\ud800b"
    value = {
        bad: [bad, (bad,), {bad}, 1, None, True, 1.5, dt.date(2026, 1, 1), uuid.UUID(int=5), b"x", 1j],
        "message": HumanMessage(bad, id="1"),
        "data": Data(1, bad),
        "model": Model(x=bad),
        "enum": Word.ODD,
        "pair": Pair(bad, 2),  # type: ignore[arg-type]
        "error": ValueError(bad),
        "send": Send("n", bad),
        3: decimal.Decimal("1.5"),
    }
    assert wire.loads(serialise.dumps(value)) == {
        "a?b": [
            "a?b",
            ["a?b"],
            ["a?b"],
            1,
            None,
            True,
            1.5,
            "2026-01-01",
            str(uuid.UUID(int=5)),
            "eA==",
            None,
        ],
        "message": {
            "content": "a?b",
            "additional_kwargs": {},
            "response_metadata": {},
            "type": "human",
            "name": None,
            "id": "1",
        },
        "data": {"a": 1, "b": "a?b"},
        "model": {"x": "a?b", "when": "2026-01-01T00:00:00", "cost": 1.5},
        "enum": "o?",
        "pair": {"p": "a?b", "q": 2},
        "error": {"error": "ValueError", "message": "a?b"},
        "send": {"node": "n", "args": "a?b"},
        "3": 1.5,
    }
