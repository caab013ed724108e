"""Cutting, storing and joining: the same bytes back, and a cost that does not grow with what is there already."""

from __future__ import annotations

import random
from typing import Any

import ormsgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatewayd.blobs import cut, join, sql
from gatewayd.errors import Rejected

SIZES = st.sampled_from([0, 1, 40, 199, 200, 255, 256, 257, 512, 3000])
BYTES = st.builds(lambda size, seed: random.Random(seed).randbytes(size), SIZES, st.integers(0, 5))
PIECES = st.lists(BYTES | st.lists(BYTES, max_size=90), max_size=6)


def message(number: int, size: int = 2000) -> bytes:
    words = random.Random(number)
    return b" ".join(words.choice([b"when", b"the", b"sea", b"was", b"calm"]) for _ in range(size // 4))


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=PIECES)
def test_a_value_comes_back_as_the_concatenation_of_its_pieces(shelf: Any, pieces: list[Any]) -> None:
    whole = b"".join(piece if isinstance(piece, bytes) else b"".join(piece) for piece in pieces)
    name = str(shelf.count("held"))
    shelf.put("t", name, pieces)
    assert shelf.get("t", name) == whole


def test_one_more_element_costs_its_own_size_however_long_the_list_is(shelf: Any) -> None:
    elements: list[bytes] = []
    sent, manifests = [], []
    for number in range(4000):
        elements.append(message(number, 300))
        if number > 3800 or number < 200:
            sent.append(shelf.put("t", str(number), [b"head", elements]))
            manifests.append(len(shelf.manifest("t", str(number))))
        else:
            shelf.known.update(one.hash for one in shelf.put("t", str(number), [b"head", elements[-1:]]))
    late, early = sent[201:], sent[1:200]

    def size(puts: list[list[cut.Blob]]) -> float:
        return sum(len(blob.body) for blobs in puts for blob in blobs) / len(puts)

    assert max(len(blobs) for blobs in late) <= 5
    assert size(late) < 1.3 * size(early)
    assert max(manifests) < 600
    assert shelf.get("t", "3999") == b"head" + b"".join(elements)


def test_what_is_equal_is_sent_and_stored_once(shelf: Any) -> None:
    assert len(shelf.put("t", "a", [[message(1)], [message(1), message(2)]])) == 2
    assert shelf.put("t", "b", [[message(2)], b"between", [message(1)]]) == []
    shelf.known.clear()
    assert len(shelf.put("t", "c", [[message(1)]])) == 1
    assert shelf.count() == 2


def test_short_values_have_no_blobs(shelf: Any) -> None:
    assert shelf.put("t", "a", [b"x" * 300, [b"y" * 30] * 10, [b"z" * 255]]) == []


def test_short_elements_share_blobs_from_the_front_on(shelf: Any) -> None:
    elements = [b"%06d" % number for number in range(5000)]
    first = shelf.put("t", "a", [elements])
    again = shelf.put("t", "b", [[*elements, b"one more"]])
    assert len(first) < 5000 // 70
    assert len(again) <= 1
    assert shelf.get("t", "b") == b"".join(elements) + b"one more"


def test_manifests_that_share_blobs_are_loaded_together(shelf: Any) -> None:
    elements = [message(number, 400) for number in range(600)]
    for length in range(590, 600):
        shelf.put("t", str(length), [elements[:length]])
    asked: list[int] = []
    fetch = shelf.joiner("t").fetch
    joiner = join.Joiner("t", lambda query, values: asked.append(len(values)) or fetch(query, values))
    manifests = [shelf.manifest("t", str(length)) for length in range(590, 600)]
    joiner.load(manifests)
    assert [joiner.join(one) for one in manifests] == [b"".join(elements[:n]) for n in range(590, 600)]
    assert len(asked) <= 5


@pytest.mark.parametrize("below", [False, True], ids=["in the manifest", "in a new segment"])
def test_a_sender_that_is_wrong_about_what_is_stored_is_refused(shelf: Any, below: bool) -> None:
    elements = [message(number) for number in range(8 if below else 1)]
    lost = cut.Cutter()
    lost.manifest([elements[:1]])
    cutter = cut.Cutter(known=set(lost.blobs))
    manifest = cutter.manifest([elements])
    with pytest.raises(Rejected, match="1 of the blobs"):
        sql.store(shelf.connection, "t", list(cutter.blobs.values()), [manifest])


def test_what_is_not_stored_yet_may_stand_on_what_is(shelf: Any) -> None:
    elements = [message(number) for number in range(8)]
    shelf.put("t", "a", [elements[:7]])
    cutter = cut.Cutter(shelf.known)
    manifest = cutter.manifest([elements])
    joiner = shelf.joiner("t")
    joiner.take(cutter.blobs.values())
    assert joiner.join(manifest) == b"".join(elements)


def test_a_missing_blob_is_told_by_name(shelf: Any) -> None:
    cutter = cut.Cutter()
    manifest = cutter.manifest([[message(1)]])
    with pytest.raises(join.Missing, match=next(iter(cutter.blobs)).hex()):
        shelf.joiner("t").join(manifest)


def test_a_key_changes_every_address(shelf: Any) -> None:
    plain, keyed = cut.Cutter(), cut.Cutter(key=b"secret")
    for cutter in (plain, keyed):
        cutter.manifest([[message(number) for number in range(9)]])
    assert len(plain.blobs) == len(keyed.blobs) == 10
    assert not plain.blobs.keys() & keyed.blobs.keys()


def test_blobs_travel_as_plain_data(shelf: Any) -> None:
    cutter = cut.Cutter()
    manifest = cutter.manifest([[message(1)]])
    travelled = ormsgpack.unpackb(ormsgpack.packb([*map(list, cutter.blobs.values())]))
    sql.store(shelf.connection, "t", travelled, [manifest])
    assert shelf.joiner("t").join(manifest) == message(1)
