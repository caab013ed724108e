"""
Cutting, storing and joining: the same bytes back, and a cost that does not grow with what is there already.
"""

from __future__ import annotations

import random
import sys
from typing import Any

import ormsgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatewayd.blobs import cut, join
from gatewayd.blobs.seal import Locked, Seal
from gatewayd.blobs.sqlite import tables
from gatewayd.errors import BadConfiguration, Rejected

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
    stored = tables.Blobs(lambda query, values: asked.append(len(values)) or shelf.fetch(query, values))
    joiner = join.Joiner("t", stored)
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
        tables.store(shelf.connection, "t", list(cutter.blobs.values()), [manifest])


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
    plain, keyed = cut.Cutter(), cut.Cutter(seal=Seal(b"k" * 16))
    for cutter in (plain, keyed):
        cutter.manifest([[message(number) for number in range(9)]])
    assert len(plain.blobs) == len(keyed.blobs) == 10
    assert not plain.blobs.keys() & keyed.blobs.keys()


def test_sealed_pieces_come_back_and_nothing_of_them_is_stored_in_the_clear(shelf: Any) -> None:
    seal = Seal(b"k" * 24)
    cutter = cut.Cutter(seal=seal)
    elements = [b"plain text %06d " % number * 30 for number in range(100)]
    manifest = cutter.manifest([b"head in plain text", elements, b"end in plain text"])
    blobs = list(cutter.blobs.values())
    assert len(blobs) > 100
    assert b"plain text" not in manifest + b"".join(blob.body for blob in blobs)
    tables.store(shelf.connection, "t", blobs, [manifest])
    joiner = join.Joiner("t", shelf.joiner("t").stored, Seal(b"k" * 24))
    assert joiner.join(manifest) == b"head in plain text" + b"".join(elements) + b"end in plain text"


def test_what_was_stored_in_the_clear_is_read_beside_what_is_sealed(shelf: Any) -> None:
    elements = [message(number) for number in range(100)]
    shelf.put("t", "a", [elements])
    seal = Seal(b"k" * 16)
    cutter = cut.Cutter(shelf.known, seal)
    sealed = cutter.manifest([elements])
    tables.store(shelf.connection, "t", list(cutter.blobs.values()), [sealed])
    joiner = join.Joiner("t", shelf.joiner("t").stored, Seal(b"k" * 16))
    joiner.load([shelf.manifest("t", "a"), sealed])
    assert joiner.join(sealed) == joiner.join(shelf.manifest("t", "a")) == b"".join(elements)


def test_a_sealed_blob_that_stands_in_anothers_place_is_not_opened(shelf: Any) -> None:
    cutter = cut.Cutter(seal=Seal(b"k" * 16))
    manifest = cutter.manifest([[message(1)], [message(2)]])
    one, two = cutter.blobs.values()
    tables.store(
        shelf.connection, "t", [one._replace(body=two.body), two._replace(body=one.body)], [manifest]
    )
    with pytest.raises(Locked):
        join.Joiner("t", shelf.joiner("t").stored, Seal(b"k" * 16)).join(manifest)


def test_a_blob_that_was_sealed_or_opened_is_not_decrypted_again(
    shelf: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seal, elements = Seal(b"k" * 16), [message(number) for number in range(50)]
    cutter = cut.Cutter(seal=seal)
    manifest = cutter.manifest([elements])
    tables.store(shelf.connection, "t", list(cutter.blobs.values()), [manifest])
    other = Seal(b"k" * 16)
    join.Joiner("t", shelf.joiner("t").stored, other).load([manifest])
    monkeypatch.setattr(Seal, "open", lambda *_: pytest.fail("decrypted again"))
    for warm in (seal, other):
        joiner = join.Joiner("t", shelf.joiner("t").stored, warm)
        joiner.load([manifest])
        assert sorted(
            joiner.content[each] for each in joiner.content if each not in joiner.segments
        ) == sorted(elements)


@pytest.mark.parametrize("other", [None, Seal(b"x" * 16)], ids=["no key", "another key"])
def test_without_its_key_a_sealed_value_is_refused_by_the_variables_name(
    shelf: Any, other: Seal | None
) -> None:
    cutter = cut.Cutter(seal=Seal(b"k" * 16))
    manifest = cutter.manifest([b"short"])
    with pytest.raises(Locked, match="LANGGRAPH_AES_KEY is not"):
        join.Joiner("t", shelf.joiner("t").stored, other).join(manifest)


@pytest.mark.parametrize("size", [0, 15, 33])
def test_a_key_of_another_size_is_refused_by_name_and_not_shown(size: int) -> None:
    with pytest.raises(BadConfiguration, match=f"LANGGRAPH_AES_KEY must be .* not {size}$"):
        Seal(b"k" * size)


def test_a_key_without_the_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "Crypto.Cipher", None)
    with pytest.raises(BadConfiguration, match=r"gatewayd\[encryption\]"):
        Seal(b"k" * 16)


def test_blobs_travel_as_plain_data(shelf: Any) -> None:
    cutter = cut.Cutter()
    manifest = cutter.manifest([[message(1)]])
    travelled = ormsgpack.unpackb(ormsgpack.packb([*map(list, cutter.blobs.values())]))
    tables.store(shelf.connection, "t", travelled, [manifest])
    assert shelf.joiner("t").join(manifest) == message(1)
