"""Serialised values are cut where they may be, and come back byte by byte."""

from __future__ import annotations

from typing import Any

import ormsgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import _DeltaSnapshot

from gatewayd.blobs import cut, join
from gatewayd.checkpointing import split
from gatewayd.checkpointing.pieces import MSGPACK, pack
from gatewayd.checkpointing.rows import PIECES
from tests.checkpointing.conftest import everything_in_pieces

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.binary(max_size=300)
)
TEXTS = st.sampled_from([0, 1, 31, 32, 255, 256, 70_000]).map("x".__mul__)
VALUES = st.recursive(
    SCALARS | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=20)
        | st.dictionaries(st.text(max_size=5) | st.integers(0, 9), inner, max_size=20)
    ),
    max_leaves=30,
)
SERDE = JsonPlusSerializer()


def joined(pieces: list[Any]) -> bytes:
    return b"".join(piece if isinstance(piece, bytes) else b"".join(piece) for piece in pieces)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=VALUES, small=st.booleans())
def test_the_pieces_of_any_value_are_its_encoding(monkeypatch: Any, value: Any, small: bool) -> None:
    with monkeypatch.context() as patch:
        if small:
            everything_in_pieces(patch)
        data = ormsgpack.packb(value, option=ormsgpack.OPT_NON_STR_KEYS)
        assert joined(split.pieces(data)) == data


@pytest.mark.parametrize("count", [1, 15, 16, 65_535, 65_536])
def test_every_length_of_list_and_object_is_gone_through(count: int) -> None:
    for value in (list(range(count)), {f"{number:05}": number for number in range(count)}):
        data = ormsgpack.packb(value)
        assert joined(split.pieces(data)) == data


def test_a_message_is_the_same_slice_alone_in_a_list_in_a_channel_and_in_a_snapshot() -> None:
    said = HumanMessage("x" * 300, id="1")
    slice_ = SERDE.dumps_typed(said)[1]
    for value in (
        said,
        [said],
        {"messages": [said]},
        {"v": 1, "channel_values": {"messages": [said, AIMessage("y" * 400, id="2")], "n": 1}},
        {"channel_values": {"messages": _DeltaSnapshot([said])}},
        {"channel_values": {"__start__": {"messages": [said]}}},
    ):
        data = SERDE.dumps_typed(value)[1]
        pieces = split.pieces(data)
        assert joined(pieces) == data
        assert any(isinstance(piece, list) and slice_ in piece for piece in pieces)


def test_a_large_object_is_a_list_of_its_entries() -> None:
    data = ormsgpack.packb({f"{number:05}": "x" * 300 for number in range(1000)})
    assert [len(piece) for piece in split.pieces(data) if isinstance(piece, list)] == [1000]


@pytest.mark.parametrize(
    "damage",
    [b"\xdd" * 3000, b"\xd9", b"\x81" * 3000, ormsgpack.packb(["x" * 3000]) + b"more", b"\xc7" * 3000],
    ids=["endless lists", "half a text", "deep objects", "more behind it", "extensions"],
)
def test_what_is_not_what_its_tag_says_is_kept_as_it_is(damage: bytes) -> None:
    data = damage + bytes(2000)
    cutter = cut.Cutter()
    version, manifest = pack(MSGPACK, data, cutter)
    assert version == PIECES
    joiner = join.Joiner("t", lambda *_: [])
    joiner.take(cutter.blobs.values())
    assert joiner.join(manifest) == data
