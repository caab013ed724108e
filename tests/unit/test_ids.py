"""Identifiers: what a client may send and what it gets back."""

from __future__ import annotations

import time
import uuid

import pytest

from gatewayd import ids


def test_a_new_id_is_a_uuid_of_version_7_and_the_rfc_variant():
    for _ in range(200):
        value = uuid.UUID(ids.new_id())
        assert (value.version, value.variant) == (7, uuid.RFC_4122)


def test_a_new_id_begins_with_its_milliseconds():
    assert uuid.UUID(ids.new_id(0x0123456789AB)).int >> 80 == 0x0123456789AB


def test_a_new_id_takes_the_time_from_the_clock():
    before = time.time_ns() // 1_000_000
    stamp = uuid.UUID(ids.new_id()).int >> 80
    assert before <= stamp <= time.time_ns() // 1_000_000


def test_ids_of_later_milliseconds_sort_after_earlier_ones():
    made = [ids.new_id(ms) for ms in range(1_700_000_000_000, 1_700_000_000_200)]
    assert made == sorted(made)


def test_ids_of_one_millisecond_differ():
    assert len({ids.new_id(1_700_000_000_000) for _ in range(1000)}) == 1000


def test_a_system_assistant_has_the_same_id_as_on_the_reference_server():
    assert ids.system_assistant_id("chat") == "eb6db400-e3c8-5d06-a834-015cb89efe69"


@pytest.mark.parametrize(
    "spelling",
    [
        "eb6db400-e3c8-5d06-a834-015cb89efe69",
        "EB6DB400-E3C8-5D06-A834-015CB89EFE69",
        "eb6db400e3c85d06a834015cb89efe69",
        "{eb6db400-e3c8-5d06-a834-015cb89efe69}",
        "urn:uuid:eb6db400-e3c8-5d06-a834-015cb89efe69",
    ],
)
def test_every_spelling_of_a_uuid_becomes_the_canonical_one(spelling):
    assert ids.parse_uuid(spelling) == "eb6db400-e3c8-5d06-a834-015cb89efe69"


@pytest.mark.parametrize(
    "text", ["", "chat", "eb6db400", "g" * 32, "eb6db400-e3c8-5d06-a834-015cb89efe6", None, 5, b"x"]
)
def test_what_is_no_uuid_is_none_and_no_error(text):
    assert ids.parse_uuid(text) is None


def test_the_time_of_a_checkpoint_is_in_its_id():
    assert ids.checkpoint_time_ms("1ec9414c-232a-6b00-b3c8-9e6bdeced846") == 1_645_557_742_000
    assert ids.checkpoint_time_ms("017f22e2-79b0-7cc3-98c4-dc0c0c07398f") is None
    assert ids.checkpoint_time_ms("first") is None
