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

from gatewayd.blobs import cut, join, texts
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
LONG = st.builds(
    lambda part, times: (part * times)[:90_000],
    # The first bytes of Arabic letters and of other signs are those of long texts in MessagePack.
    st.sampled_from(
        ["words ", "\u0645\u0631\u062d\u0628\u0627 ", "\U0001f600\n", "\u06da", '{"a":"b\\n"}', "\x00"]
    )
    | st.text(min_size=1, max_size=3),
    st.sampled_from([1, 70, 200, 9000, 40_000]),
)
MESSAGES = st.builds(
    lambda content, name: HumanMessage(content, id="1", additional_kwargs={"name": name}),
    LONG
    | st.lists(LONG, min_size=1, max_size=2).map(
        lambda some: [{"type": "text", "text": each} for each in some]
    ),
    LONG | st.binary(max_size=900),
)


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


def told(data: bytes, cutter: cut.Cutter | None = None) -> bytes:
    """Store a value in pieces, with its long texts apart, and return it joined."""
    cutter = cutter or cut.Cutter(find=split.long_texts)
    manifest = cutter.manifest(split.pieces(data))
    joiner = join.Joiner("t", lambda *_: [])
    joiner.take(cutter.blobs.values())
    return joiner.join(manifest)


@settings(max_examples=150, deadline=None)
@given(value=st.one_of(LONG, MESSAGES, st.lists(MESSAGES | LONG | st.binary(max_size=900), max_size=4)))
def test_texts_of_any_length_and_script_come_back(value: Any) -> None:
    data = SERDE.dumps_typed({"channel_values": {"x": value, "y": [value]}})[1]
    assert told(data) == data


@settings(max_examples=150, deadline=None)
@given(value=VALUES)
def test_any_value_comes_back_whatever_is_taken_for_a_text(value: Any) -> None:
    data = ormsgpack.packb(value, option=ormsgpack.OPT_NON_STR_KEYS)
    assert told(data) == data


@pytest.mark.parametrize("size", [texts.MINIMUM - 1, texts.MINIMUM, 65_535, 65_536, 300_000])
@pytest.mark.parametrize("letter", ["x", "\u0645"])
def test_long_texts_are_found_in_messages_whatever_their_script(size: int, letter: str) -> None:
    text = letter * (size // len(letter.encode()))
    text += "." * (size - len(text.encode()))
    data = SERDE.dumps_typed(HumanMessage(text, id="\u06da" * 40))[1]
    found = [data[start:end].decode() for start, end, _ in split.long_texts(data)]
    assert found == ([text] if size >= texts.MINIMUM else [])


@pytest.mark.parametrize("tail", [b"\xda", b"\xda\x02", b"\xdb\x00\x00\x02", b"\xda\x02\x00" + b"x" * 511])
def test_a_text_that_is_cut_off_is_none(tail: bytes) -> None:
    assert list(split.long_texts(b"x" * 300 + tail)) == []


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
    version, _, manifest = pack(MSGPACK, data, cutter)
    assert version == PIECES
    joiner = join.Joiner("t", lambda *_: [])
    joiner.take(cutter.blobs.values())
    assert joiner.join(manifest) == data
