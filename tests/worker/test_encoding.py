"""
What is data is stored without pickle and comes back as itself; what is not is named with its place and class.
"""

from __future__ import annotations

import logging
import re
import threading
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import attrs
import pytest
from langchain_core.messages import ToolMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Interrupt, Send

from gatewayd.worker.states import encoding, serde


@attrs.frozen
class Place:
    """A small class as libraries have them."""

    name: str
    _weight: Any = 1.0
    doubled: Any = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "doubled", (self._weight, self._weight))


@dataclass
class Counted:
    """A dataclass with a field that its constructor does not take."""

    words: list[str]
    count: int = field(init=False)

    def __post_init__(self) -> None:
        self.count = len(self.words)


DATA: dict[str, Any] = {
    "complex": 1 + 2j,
    "fraction": Fraction(2**70, 3),
    "range": range(1, 10, 2),
    "path": PurePosixPath("/a/b"),
    "path of windows": PureWindowsPath("c:/a"),
    "bytearray": bytearray(b"\x00a"),
    "surrogate": "a\ud800b",
    "surrogate as key": {"k\udfff": 1, "other": ["\ud800"]},
    "wide integer": -(2**90),
    "unknown keys": {frozenset({1}): "a", Fraction(1, 2): "b", "plain": 1},
    "attrs": Place("here", weight=2.5),
    "dataclass": Counted(["a", "b"]),
}
STRICT: list[dict[str, Any]] = [
    {},
    {"allowed_msgpack_modules": None},
    {"allowed_msgpack_modules": [[__name__, "Place"], [__name__, "Counted"]]},
]


def back(value: Any, options: dict[str, Any] | None = None) -> Any:
    made = serde.serialiser(options or {})
    kind, data = made.dumps_typed(value)
    assert kind == "msgpack"
    return made.loads_typed((kind, data))


def same(found: Any, value: Any) -> bool:
    return type(found) is type(value) and found == value


@pytest.mark.parametrize("name", DATA)
def test_data_come_back_as_themselves_wherever_they_stand(name: str) -> None:
    value = DATA[name]
    assert same(back([value])[0], value)
    assert same(back({"a": {"b": (1, [value])}})["a"]["b"][1][0], value)
    assert same(back([Interrupt(value=value, id="i")])[0].value, value)
    assert same(back(Send("node", {"x": value})).arg["x"], value)
    message = back(ToolMessage("done", tool_call_id="c", artifact={"x": value}))
    if not isinstance(value, (Place, Counted)):
        assert same(message.artifact["x"], value)


@pytest.mark.parametrize("options", STRICT)
@pytest.mark.parametrize("name", [name for name in DATA if name not in {"attrs", "dataclass"}])
def test_an_allow_list_does_not_keep_standard_data_from_coming_back(
    name: str, options: dict[str, Any]
) -> None:
    assert same(back([DATA[name]], options)[0], DATA[name])


def test_reading_standard_data_warns_nobody(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    for name, value in DATA.items():
        if name not in {"attrs", "dataclass"}:
            back([value])
    assert caplog.messages == []


def test_langgraphs_own_serialiser_reads_what_was_stored() -> None:
    for name in ("complex", "fraction", "surrogate as key", "bytearray"):
        stored = serde.serialiser({}).dumps_typed([DATA[name]])
        assert JsonPlusSerializer().loads_typed(stored) == [DATA[name]]


def test_numbers_and_times_of_numpy_come_back_as_themselves() -> None:
    numpy = pytest.importorskip("numpy")
    values = [
        numpy.float64(1.5),
        numpy.float32(0.25),
        numpy.int8(-3),
        numpy.uint64(2**64 - 1),
        numpy.bool_(True),
        numpy.complex128(1 + 2j),
        numpy.longdouble("1.1"),
        numpy.datetime64("2026-11-30T12:00:00.123456789"),
        numpy.datetime64("2026-11", "M"),
        numpy.timedelta64(5, "D"),
        numpy.timedelta64(3, "10s"),
    ]
    for options in STRICT[:2]:
        for found, value in zip(back(values, options), values, strict=True):
            assert same(found, value)
            assert getattr(found, "dtype", None) == getattr(value, "dtype", None)
    assert numpy.isnat(back(numpy.datetime64("NaT", "ns")))
    assert back([Interrupt(value={"n": numpy.int64(3)}, id="i")])[0].value == {"n": 3}
    assert back({numpy.int64(3): "x"}) == {3: "x"}


class Thing:
    """No data."""

    def __init__(self, inside: Any = None) -> None:
        self.inside = inside


@pytest.mark.parametrize(
    ("value", "place", "kind"),
    [
        ({"a": [1, {"b c": threading.Lock()}]}, "a[1]['b c']", "_thread.lock"),
        ([Interrupt(value={"call": len}, id="i")], "[0].value.call", "builtin_function_or_method"),
        ({"x": Place("p", weight=lambda: 1)}, "x._weight", "function"),
        ({"x": Thing()}, "x", f"{__name__}.Thing"),
        (ToolMessage("m", tool_call_id="c", artifact={"k": Thing()}), "artifact.k", f"{__name__}.Thing"),
        (Thing(), "the value", f"{__name__}.Thing"),
    ],
)
def test_what_can_not_be_stored_is_named_with_its_place_its_class_and_the_setting_that_would_help(
    value: Any, place: str, kind: str
) -> None:
    with pytest.raises(encoding.Unstorable) as caught:
        serde.serialiser({}).dumps_typed(value)
    text = str(caught.value)
    assert text.startswith(f"{place} is of type {kind}, which can't be stored in a checkpoint. ")
    assert '"pickle_fallback": true' in text


def test_what_can_not_be_pickled_either_is_named_with_the_reason() -> None:
    with pytest.raises(encoding.Unstorable, match=re.escape("a[0] is of type _thread.lock")) as caught:
        serde.serialiser({"pickle_fallback": True}).dumps_typed({"a": [threading.Lock()]})
    assert "pickle" in str(caught.value)
    assert "pickle_fallback" not in str(caught.value)


def test_deeply_nested_objects_are_looked_at_once() -> None:
    value: Any = threading.Lock()
    for _ in range(25):
        value = attrs.make_class("Nested", ["inside"])(value)
    with pytest.raises(encoding.Unstorable, match=r"inside\.inside"):
        serde.serialiser({}).dumps_typed({"x": value})
