"""Long texts that are blobs of their own: the very bytes back, and each text stored once."""

from __future__ import annotations

import json
import random
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gatewayd.blobs import cut, join, texts
from gatewayd.blobs.seal import Locked, Seal
from gatewayd.blobs.sqlite import tables
from gatewayd.errors import Rejected

SPECIAL = st.sampled_from(
    [
        'line\nbreak\r\n\t"quoted" \\ and \\n, no break ',
        "\U0001f600 \u2028 \u0000 \x1b[31m \x7f / ",
        "\u0645\u0631\u062d\u0628\u0627 \u06da\u06dd ",
        '{"nested":"text \\\\\\" in a text"}',
        "plain words ",
        "",
    ]
)
TEXTS = st.builds(
    lambda parts, times: "".join(parts) * times, st.lists(SPECIAL, max_size=4), st.integers(1, 60)
)
VALUES = st.recursive(
    TEXTS | st.text() | st.integers() | st.none(),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3) | TEXTS, inner, max_size=4)
    ),
    max_leaves=12,
)


def words(seed: int, size: int = 1000) -> str:
    draw = random.Random(seed)
    return "".join(draw.choices(["when ", "the sea\n", "was ", '"calm" '], k=size))[:size]


def said(text: str, **more: Any) -> bytes:
    return orjson.dumps({"content": text, **more, "type": "human"})


def store(shelf: Any, cutter: cut.Cutter, elements: list[bytes]) -> bytes:
    manifest = cutter.manifest([elements])
    tables.store(shelf.connection, "t", list(cutter.blobs.values()), [manifest])
    return manifest


def kinds(shelf: Any) -> dict[int, int]:
    return dict(shelf.connection.execute("SELECT kind, count(*) FROM blobs GROUP BY kind").fetchall())


@pytest.fixture
def json_shelf(shelf: Any) -> Any:
    """Give a shelf whose elements are JSON."""
    shelf.find = texts.in_json
    return shelf


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=VALUES, indented=st.booleans(), comma=st.booleans(), key=st.sampled_from([b"", b"k" * 16]))
def test_any_json_comes_back_as_the_very_bytes(
    json_shelf: Any, value: Any, indented: bool, comma: bool, key: bytes
) -> None:
    element = b"," * comma + (
        orjson.dumps(value, option=indented * orjson.OPT_INDENT_2)
        if all_orjson(value)
        else json.dumps(value).encode()
    )
    seal = Seal(key) if key else None
    manifest = store(json_shelf, cut.Cutter(seal=seal, find=texts.in_json), [element])
    # With a key from a seal that remembers nothing.
    joiner = join.Joiner("t", json_shelf.joiner("t").stored, Seal(key) if key else None)
    assert joiner.join(manifest) == element


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=VALUES)
def test_any_json_with_escapes_for_all_that_is_not_ascii_comes_back(json_shelf: Any, value: Any) -> None:
    element = json.dumps(value).encode()
    manifest = store(json_shelf, cut.Cutter(find=texts.in_json), [element])
    assert json_shelf.joiner("t").join(manifest) == element


def all_orjson(value: Any) -> bool:
    """Whether orjson takes a value: not lone surrogates, not integers beyond 64 bits."""
    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return True


PLACES = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 300), st.booleans()), max_size=20)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(min_size=256, max_size=3000) | st.just(b"\\\\n" * 200), places=PLACES)
@example(content=b"x" * 256, places=[(0, 256, False)])
@example(content=b"\\" * 257, places=[(0, 257, True), (0, 0, True)])
def test_whatever_is_taken_for_a_text_the_very_bytes_come_back(
    shelf: Any, content: bytes, places: Any
) -> None:
    found, behind = [], 0
    for gap, length, in_json in places:
        start = min(behind + gap, len(content))
        behind = min(start + length, len(content))
        found.append(texts.Place(start, behind, in_json))
    shelf.find = lambda _: found
    name = str(shelf.count("held"))
    shelf.known.clear()
    shelf.put("t", name, [b"before", [content], b"behind"])
    assert shelf.get("t", name) == b"before" + content + b"behind"


@given(text=TEXTS | st.text())
def test_what_is_escaped_is_json_and_can_be_taken_back(text: str) -> None:
    inside = orjson.dumps(text)[1:-1] if all_orjson(text) else json.dumps(text)[1:-1].encode()
    back = texts.unescaped(inside)
    assert back is None or texts.escaped(back) == inside
    if all_orjson(text):
        assert texts.unescaped(texts.escaped(text.encode())) == text.encode()
        if not any(each < " " and each not in "\n\r\t" for each in text):
            assert back == text.encode()


@pytest.mark.parametrize(
    "inside", [rb"\u00e9", rb"\/", rb"\b", rb"\u000a", b"\n", rb"\ud83d", b"\\", b"\\" * 3]
)
def test_what_orjson_would_not_write_is_no_text(inside: bytes) -> None:
    assert texts.unescaped(b"words " + inside) is None


def test_only_long_strings_are_found_between_their_quotation_marks() -> None:
    long, short = words(1), words(2, texts.MINIMUM // 2)
    data = said(long, name=short, reply={"to": [long[::-1]]})
    found = [orjson.loads(b'"' + data[start:end] + b'"') for start, end, _ in texts.in_json(data)]
    assert found == [long, long[::-1]]
    assert list(texts.in_json(said(words(1, 100)))) == []


def test_a_text_is_stored_once_in_whatever_it_stands(json_shelf: Any) -> None:
    text = words(1)
    json_shelf.put("t", "a", [[said(text), said(text, id="1"), b"," + said(text)]])
    length = len(text.encode())
    json_shelf.find = lambda data: [texts.Place(data.index(text.encode()), len(data) - 4, False)]
    json_shelf.put("t", "b", [[b"head" + text.encode() + b"tail"]])
    assert json_shelf.count() == 4 + 1
    assert kinds(json_shelf)[cut.COMPOUND] == 4
    ((stored,),) = json_shelf.connection.execute(
        f"SELECT sum(length(body)) FROM blobs WHERE kind = {cut.COMPOUND}"
    )
    assert stored < length
    assert json_shelf.get("t", "a") == said(text) + said(text, id="1") + b"," + said(text)
    assert json_shelf.get("t", "b") == b"head" + text.encode() + b"tail"


def test_an_element_has_one_address_whether_its_texts_were_found_or_not(json_shelf: Any) -> None:
    plain = cut.Cutter()
    manifest = store(json_shelf, plain, [said(words(1))])
    assert store(json_shelf, cut.Cutter(find=texts.in_json), [said(words(1))]) == manifest
    assert cut.COMPOUND not in kinds(json_shelf), "what was there stays"
    assert json_shelf.put("t", "a", [[said(words(2))]])[-1].kind == cut.COMPOUND
    assert store(json_shelf, cut.Cutter(), [said(words(2))]) == json_shelf.manifest("t", "a")
    assert json_shelf.get("t", "a") == said(words(2))


def test_of_a_known_element_nothing_is_looked_at(json_shelf: Any) -> None:
    json_shelf.put("t", "a", [[said(words(1))]])
    json_shelf.find = lambda _: pytest.fail("looked for texts again")
    assert json_shelf.put("t", "b", [[said(words(1))]]) == []


def test_a_text_that_is_an_element_too_is_stored_for_each(json_shelf: Any) -> None:
    """So a compound never stands in another: what a tool returns may be a message, as JSON in a text."""
    text = said(words(1)).decode()
    elements = [said(text), said(words(1)), orjson.dumps(text)]
    json_shelf.put("t", "a", [elements])
    assert json_shelf.get("t", "a") == b"".join(elements)
    kept = json_shelf.connection.execute(f"SELECT body FROM blobs WHERE kind = {cut.COMPOUND}").fetchall()
    below = {address for (body,) in kept for address in cut.references(body)}
    marks = ", ".join("?" * len(below))
    assert json_shelf.connection.execute(
        f"SELECT count(*) FROM blobs WHERE kind = {cut.COMPOUND} AND hash IN ({marks})", [*below]
    ).fetchone() == (0,)


@pytest.mark.parametrize("count", [1, 2, 15, 16, 40, 700])
def test_an_element_may_have_many_texts(json_shelf: Any, count: int) -> None:
    element = orjson.dumps([words(number, 500) for number in range(count)])
    json_shelf.put("t", "a", [[element]])
    assert json_shelf.count() == count + 1
    assert json_shelf.get("t", "a") == element


def test_texts_come_with_their_elements_and_not_by_a_query_each(json_shelf: Any) -> None:
    elements = [said(words(number), n=number) for number in range(400)]
    json_shelf.put("t", "a", [elements])
    asked: list[int] = []
    counted = tables.Blobs(lambda query, values: asked.append(len(values)) or json_shelf.fetch(query, values))
    joiner = join.Joiner("t", counted)
    assert joiner.join(json_shelf.manifest("t", "a")) == b"".join(elements)
    assert len(asked) <= 4


def test_what_a_sender_may_leave_out_is_found_without_reading_the_elements(json_shelf: Any) -> None:
    json_shelf.put("t", "a", [[said(words(number), n=number) for number in range(300)]])
    read: list[int] = []

    def fetch(query: str, values: Any) -> Any:
        rows = json_shelf.connection.execute(query, values).fetchall()
        read.append(len(rows))
        return rows

    found = join.reached("t", tables.Blobs(fetch), json_shelf.manifest("t", "a"))
    of_kind = f"SELECT hash FROM blobs WHERE kind IN ({cut.SEGMENT}, {cut.COMPOUND})"
    assert found == {address for (address,) in json_shelf.connection.execute(of_kind)}
    assert sum(read) < 100
    json_shelf.known = found
    assert json_shelf.put("t", "b", [[said(words(number), n=number) for number in range(300)]]) == []


def test_a_sender_that_is_wrong_about_a_text_is_refused(json_shelf: Any) -> None:
    lost = cut.Cutter(find=texts.in_json)
    lost.manifest([[said(words(1))]])
    text, _ = lost.blobs
    cutter = cut.Cutter({text}, find=texts.in_json)
    with pytest.raises(Rejected, match="1 of the blobs"):
        store(json_shelf, cutter, [said(words(1), id="1")])


def test_a_missing_text_is_told_by_name(json_shelf: Any) -> None:
    text, compound = json_shelf.put("t", "a", [[said(words(1))]])
    assert compound.kind == cut.COMPOUND
    json_shelf.connection.execute("DELETE FROM blobs WHERE hash = ?", (text.hash,))
    with pytest.raises(join.Missing, match=text.hash.hex()):
        json_shelf.get("t", "a")


@pytest.mark.parametrize("stored", ["the text", "nothing"])
def test_what_is_not_stored_yet_may_have_texts(json_shelf: Any, stored: str) -> None:
    if stored == "the text":
        json_shelf.put("t", "a", [[said(words(1))]])
    cutter = cut.Cutter(json_shelf.known, find=texts.in_json)
    manifest = cutter.manifest([[said(words(1), id="1")]])
    joiner = json_shelf.joiner("t")
    joiner.take(cutter.blobs.values())
    assert joiner.join(manifest) == said(words(1), id="1")


SEALED = "plain text that nobody else may know "


def sealed(shelf: Any, seal: Seal) -> tuple[bytes, list[bytes]]:
    elements = [said(f"{number} {SEALED * 20}", n=number) for number in range(30)]
    return store(shelf, cut.Cutter(seal=seal, find=texts.in_json), elements), elements


def test_sealed_texts_come_back_and_nothing_of_them_is_stored_in_the_clear(json_shelf: Any) -> None:
    manifest, elements = sealed(json_shelf, Seal(b"k" * 16))
    assert kinds(json_shelf)[cut.COMPOUND] == 30
    bodies = b"".join(body for (body,) in json_shelf.connection.execute("SELECT body FROM blobs"))
    assert not any(word in manifest + bodies for word in (SEALED.encode()[:8], b"content", b"human"))
    stored = json_shelf.joiner("t").stored
    assert join.Joiner("t", stored, Seal(b"k" * 16)).join(manifest) == b"".join(elements)
    for other in (None, Seal(b"x" * 16)):
        with pytest.raises(Locked):
            join.Joiner("t", stored, other).join(manifest)


def test_what_is_sealed_refers_to_what_is_sealed_only(json_shelf: Any) -> None:
    json_shelf.put("t", "a", [[said(words(1))]])
    cutter = cut.Cutter(json_shelf.known, Seal(b"k" * 16), texts.in_json)
    store(json_shelf, cutter, [said(words(1))])
    assert len(cutter.blobs) == 2
    assert json_shelf.count() == 4


def test_a_sealed_compound_that_stands_in_anothers_place_is_not_opened(json_shelf: Any) -> None:
    cutter = cut.Cutter(seal=Seal(b"k" * 16), find=texts.in_json)
    manifest = cutter.manifest([[said(words(1), n=1), said(words(1), n=2)]])
    text, one, two = cutter.blobs.values()
    assert one.kind == two.kind == cut.COMPOUND
    changed = [text, one._replace(body=two.body), two._replace(body=one.body)]
    tables.store(json_shelf.connection, "t", changed, [manifest])
    with pytest.raises(Locked):
        join.Joiner("t", json_shelf.joiner("t").stored, Seal(b"k" * 16)).join(manifest)


def test_a_compound_that_was_sealed_or_opened_is_not_decrypted_again(
    json_shelf: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seal, other = Seal(b"k" * 16), Seal(b"k" * 16)
    manifest, elements = sealed(json_shelf, seal)
    stored = json_shelf.joiner("t").stored
    join.Joiner("t", stored, other).load([manifest])
    monkeypatch.setattr(Seal, "open", lambda *_: pytest.fail("decrypted again"))
    for warm in (seal, other):
        joiner = join.Joiner("t", stored, warm)
        joiner.load([manifest])
        assert set(elements) <= set(joiner.content.values())
