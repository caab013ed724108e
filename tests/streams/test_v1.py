"""Frames of protocol v1, byte by byte, and what a client may send as Last-Event-ID."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, strategies

from gatewayd.model import event
from gatewayd.model.event import Chunk, pack
from gatewayd.streams import v1


def chunk(*items: Any, run_id: str = "run", first: int = 1) -> Chunk:
    return Chunk("thread", run_id, first, first + len(items) - 1, 1700, pack(list(items)))


def test_a_frame_is_event_data_and_id_in_this_order_with_crlf() -> None:
    assert v1.frame("values", b'{"a":1}', "17-3") == b'event: values\r\ndata: {"a":1}\r\nid: 17-3\r\n\r\n'
    assert v1.frame("values", b'{"a":1}') == b'event: values\r\ndata: {"a":1}\r\n\r\n'


def test_a_heartbeat_is_a_comment() -> None:
    assert v1.HEARTBEAT == b": heartbeat\r\n\r\n"


def test_a_run_shows_its_v1_records_with_namespaces_and_ids_up_to_its_end() -> None:
    chunks = [
        chunk(("metadata", "", event.V1, b"1"), ("values", "", event.V1 | event.THREAD, b"2")),
        chunk(("values", "", event.V1, b"not mine"), run_id="other", first=3),
        chunk(
            ("updates", "sub:1|deep:2", event.V1, b"3"),
            ("custom", "", event.THREAD, b"thread stream only"),
            ("messages", "sub:1", event.V1, "é".encode()),
            ("end", "", event.THREAD, b"last"),
            ("values", "", event.V1, b"behind the end"),
            first=4,
        ),
        chunk(("values", "", event.V1, b"later chunk"), first=9),
    ]
    frames, over = v1.run_frames(chunks, "run", names=None, with_ids=True)
    assert over
    assert frames == (
        b"event: metadata\r\ndata: 1\r\nid: 1700-1\r\n\r\n"
        b"event: values\r\ndata: 2\r\nid: 1700-2\r\n\r\n"
        b"event: updates|sub:1|deep:2\r\ndata: 3\r\nid: 1700-4\r\n\r\n"
        b"event: messages|sub:1\r\ndata: \xc3\xa9\r\nid: 1700-6\r\n\r\n"
    )
    without, over = v1.run_frames(chunks[:2], "run", names=None, with_ids=False)
    assert not over
    assert without == b"event: metadata\r\ndata: 1\r\n\r\nevent: values\r\ndata: 2\r\n\r\n"


KINDS = (
    "metadata",
    "values",
    "updates",
    "messages",
    "messages/partial",
    "messages/complete",
    "custom",
    "error",
)


@pytest.mark.parametrize(
    ("modes", "shown"),
    [
        (["values"], {"metadata", "values", "error"}),
        (["messages-tuple"], {"metadata", "messages", "messages/partial", "messages/complete", "error"}),
        (["messages"], {"metadata", "messages", "messages/partial", "messages/complete", "error"}),
        (["updates", "custom"], {"metadata", "updates", "custom", "error"}),
        ([], {"metadata", "error"}),
        (["nonsense"], {"metadata", "error"}),
    ],
)
def test_a_filter_by_modes_shows_these_their_other_names_metadata_and_errors(
    modes: list[str], shown: set[str]
) -> None:
    names = v1.names_of(modes)
    for kind, namespace in itertools.product(KINDS, ("", "sub:1")):
        frames, _ = v1.run_frames(
            [chunk((kind, namespace, event.V1, b"x"))], "run", names=names, with_ids=False
        )
        assert bool(frames) is (kind in shown), (kind, namespace)


@pytest.mark.parametrize(
    ("given_id", "number"),
    [
        ("-1", 0),
        ("0", 0),
        ("-", 0),
        ("0-0", 0),
        (" -1 ", 0),
        ("1700000000000-42", 42),
        (" 1700000000000-42\t", 42),
        ("1-0", 0),
        ("1-" + "9" * 18, 10**18 - 1),
        ("", None),
        ("1", None),
        ("42", None),
        ("-42", None),
        ("1-", None),
        ("1--2", None),
        ("1-2-3", None),
        ("1.5-2", None),
        ("1-2.5", None),
        ("+1-2", None),
        ("1-+2", None),
        ("1_0-2", None),
        ("1-1_0", None),
        ("1e3-1", None),
        ("0x1-0x2", None),
        ("1 - 2", None),
        ("²-²", None),
        ("1-²", None),
        ("1-" + "9" * 19, None),
        ("9" * 19 + "-1", None),
        ("9" * 100_000 + "-" + "9" * 100_000, None),
        ("1-2\r\nevent: values", None),
        ("'; DROP TABLE events; --", None),
        ("\x00-1", None),
    ],
)
def test_an_id_is_a_place_in_the_log_or_none_of_ours(given_id: str, number: int | None) -> None:
    assert v1.cursor_of(given_id) == number


@given(strategies.text())
def test_whatever_a_client_sends_becomes_a_number_that_sqlite_can_compare_or_nothing(text: str) -> None:
    found = v1.cursor_of(text)
    assert found is None or 0 <= found < 2**63


@given(strategies.integers(0, 10**15), strategies.integers(0, 10**15))
def test_an_id_that_was_sent_comes_back_as_its_number(time_ms: int, seq: int) -> None:
    record = event.Record(seq, time_ms, "run", "values", "", 1, b"")
    assert v1.cursor_of(record.event_id) == seq


def test_a_gap_says_where_the_log_goes_on() -> None:
    assert v1.gap_frame(5, 900, "run", 2) == (
        b'event: metadata\r\ndata: {"run_id":"run","attempt":2,"gap":{"after":5,"resumes_at":900}}\r\n\r\n'
    )
    assert v1.gap_frame(5, 900) == (b'event: metadata\r\ndata: {"gap":{"after":5,"resumes_at":900}}\r\n\r\n')
