"""JSON and times as they go over the wire."""

from __future__ import annotations

import pytest

from gatewayd import wire


def test_json_is_compact_utf8():
    assert wire.dumps({"a": [1, "ü"]}) == '{"a":[1,"ü"]}'.encode()


def test_text_is_the_same_json_as_a_string():
    assert wire.text({"a": [1, "ü"]}) == '{"a":[1,"ü"]}'


def test_keys_that_are_no_strings_are_converted():
    assert wire.dumps({2: "a", None: "b", True: "c"}) == b'{"2":"a","null":"b","true":"c"}'


def test_numbers_that_json_has_not_are_written_as_null():
    assert wire.dumps([float("nan"), float("inf")]) == b"[null,null]"


@pytest.mark.parametrize("bad", [b"NaN", b"[Infinity]", b'{"a":1} x', b'"\\ud800"', b"\xff", b"", "{"])
def test_what_is_not_json_is_refused(bad):
    with pytest.raises(wire.JSONDecodeError):
        wire.loads(bad)


def test_a_decoding_error_is_a_value_error():
    assert issubclass(wire.JSONDecodeError, ValueError)


@pytest.mark.parametrize("form", [str, str.encode])
def test_nul_becomes_the_replacement_character_in_values_and_keys_at_any_depth(form):
    assert wire.loads(form('{"a\\u0000":["x\\u0000y",{"b":"\\u0000"}],"n":1}')) == {
        "a\ufffd": ["x\ufffdy", {"b": "\ufffd"}],
        "n": 1,
    }


def test_an_escaped_backslash_before_u0000_is_no_nul():
    assert wire.loads(rb'"\\u0000"') == "\\u0000"


def test_what_was_encoded_is_decoded_to_the_same():
    value = {"a": [None, True, 1, 1.5, "x", {"b": []}], "ü": -(2**63)}
    assert wire.loads(wire.dumps(value)) == value == wire.loads(wire.text(value))


@pytest.mark.parametrize(
    ("us", "stamp"),
    [
        (0, "1970-01-01T00:00:00+00:00"),
        (1_000_001, "1970-01-01T00:00:01.000001+00:00"),
        (1_764_000_000_123_456, "2025-11-24T16:00:00.123456+00:00"),
        (-1, "1969-12-31T23:59:59.999999+00:00"),
    ],
)
def test_a_time_is_written_with_its_microseconds_and_read_back(us, stamp):
    assert wire.iso(us) == stamp
    assert wire.parse_iso(stamp) == us


def test_no_microsecond_is_lost_to_floating_point():
    for us in range(1_764_000_000_000_000, 1_764_000_000_001_000, 7):
        assert wire.parse_iso(wire.iso(us)) == us


@pytest.mark.parametrize(
    "stamp",
    ["2025-11-24T16:00:00", "2025-11-24T16:00:00Z", "2025-11-24T18:00:00+02:00", "2025-11-24T16:00:00.0"],
)
def test_all_spellings_of_a_moment_are_the_same_moment_and_a_naive_one_is_utc(stamp):
    assert wire.parse_iso(stamp) == 1_764_000_000_000_000


def test_what_is_no_time_is_a_value_error():
    with pytest.raises(ValueError, match="yesterday"):
        wire.parse_iso("yesterday")
