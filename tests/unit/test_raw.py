"""Values that are passed on as JSON, in data that is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gatewayd import parsing, wire
from gatewayd.limits import Limits

LIMITS = Limits(part_values=10_000, metadata_bytes=65_536, ids=1000, batch=1000)
LARGE: dict[str, Any] = {"a": ['é \\ " \n , [ {'] * 2000}
INTERRUPT = "0123456789abcdef" * 2

BODIES: list[Any] = [
    {"assistant_id": "a", "input": LARGE, "metadata": {"b": 1}},
    {"input": None, "command": {"resume": LARGE, "update": LARGE, "goto": "x"}},
    {"command": {"resume": {INTERRUPT: LARGE}}},
    {"params": {"responses": [{"interrupt_id": "i", "response": LARGE}]}},
    {"supersteps": [{"updates": [{"as_node": "n", "values": LARGE, "command": {"update": LARGE}}]}]},
    [{"input": LARGE}, {"input": 1}, {"input": LARGE}],
    {"input": "x"},
]


def read(body: Any) -> Any:
    head, *raw = parsing.split(json.dumps(body).encode(), LIMITS)
    return wire.joined(head, raw)


@pytest.mark.parametrize("body", BODIES)
def test_what_is_taken_out_of_a_body_comes_back_in_its_place(body: Any) -> None:
    found = read(body)
    assert wire.opened(found) == body
    assert wire.has_raw(found) == (len(json.dumps(body)) > 1000)
    assert json.loads(wire.dumps(found)) == body
    assert json.loads(b"".join(wire.pieces(found))) == body
    again = wire.unpacked(wire.packed(found))
    assert wire.opened(again) == body
    assert wire.opened(wire.unpacked(wire.packed(found).decode())) == body


def test_answers_by_interrupt_stay_a_map() -> None:
    found = read(BODIES[2])
    assert isinstance(found["command"]["resume"], dict)
    assert isinstance(found["command"]["resume"][INTERRUPT], wire.Raw)


def test_pairs_of_an_update_and_what_is_not_passed_on_stay_as_they_are() -> None:
    body = {"command": {"update": [["a", "x" * 50_000]]}, "config": {"input": "x" * 50_000}}
    assert read(body) == body


def test_plain_data_is_packed_as_plain_json() -> None:
    assert wire.packed({"a": [1, "x"]}) == b'{"a":[1,"x"]}'
    assert wire.unpacked(b'{"a":1}') == wire.unpacked('{"a":1}') == {"a": 1}
    assert wire.pieces({"a": 1}) == [b'{"a":1}']


def test_a_nul_that_a_client_sends_is_no_place_of_a_raw_value() -> None:
    body = {"input": LARGE, "metadata": {"\0" + "0": "\0" + "0"}}
    assert read(body)["metadata"] == {"\ufffd0": "\ufffd0"}
