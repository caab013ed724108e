"""Reading requests: every rule of the strict converter, on data alone."""

from __future__ import annotations

import json

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from gatewayd.api import access
from gatewayd.api.requests import parse, run_bodies, thread_bodies
from gatewayd.errors import Invalid
from gatewayd.project import Cors


@frozen(kw_only=True)
class Sample:
    """One field of each kind."""

    word: str = ""
    count: int = 0
    share: float = 0
    switch: bool = False
    thing: dict[str, object] | None = None
    words: list[str] | None = None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(JSON)
def test_any_json_is_either_structured_or_refused_in_words(value):
    for kind in (
        Sample,
        run_bodies.RunCreate,
        thread_bodies.ThreadSearch,
        thread_bodies.History,
        run_bodies.CancelRuns,
        thread_bodies.ThreadCreate,
    ):
        try:
            parse.structure(value, kind)
        except Invalid as error:
            refused = error.detail
            assert refused


@given(
    st.sampled_from([field.name for field in run_bodies.RunCreate.__attrs_attrs__]),
    JSON,
)
def test_any_value_of_any_field_is_either_taken_or_refused_by_the_fields_name(name, value):
    refused = None
    try:
        parse.structure({"assistant_id": "chat", name: value}, run_bodies.RunCreate)
    except Invalid as error:
        refused = error.detail.lower()
    named = "checkpoint" if name == "checkpoint_id" else name
    assert refused is None or named in refused


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("word", 5, "string"),
        ("count", "2", "integer"),
        ("count", 2.5, "integer"),
        ("count", True, "integer"),
        ("share", "1", "number"),
        ("share", False, "number"),
        ("switch", 1, "boolean"),
        ("switch", "true", "boolean"),
        ("thing", [], "object"),
        ("words", "abc", "array"),
        ("words", {"a": 1}, "array"),
    ],
)
def test_a_value_of_another_type_is_refused_in_the_references_words(name, value, kind):
    with pytest.raises(Invalid) as refused:
        parse.structure({name: value}, Sample)
    shown = json.dumps(value, separators=(",", ":"))
    assert refused.value.detail == (
        f'{shown} is not of type "{kind}"\n\nFailed validating "type" in schema["properties"]["{name}"]\n\n'
        f'On instance["{name}"]:\n    {shown}'
    )


def test_an_item_of_a_list_is_named_by_its_place():
    with pytest.raises(Invalid, match=r'\["words"\]\["items"\]\n\nOn instance\["words"\]\[1\]'):
        parse.structure({"words": ["a", 5]}, Sample)


def test_integral_floats_are_integers_and_nulls_are_absent():
    found = parse.structure({"count": 2.0, "share": 3, "word": None, "unknown": 1}, Sample)
    assert (found.count, found.share, found.word) == (2, 3, "")
    assert isinstance(found.count, int)


def test_a_long_wrong_value_is_not_sent_back_whole():
    with pytest.raises(Invalid) as refused:
        parse.structure({"word": ["x" * 1_000_000]}, Sample)
    assert len(refused.value.detail) < 5000


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("a", "b"), '"a" or "b"'),
        (("a", "b", "c"), '"a", "b" or "c"'),
        (("a", "b", "c", "d"), '"a", "b", "c" or "d"'),
    ],
)
def test_a_word_that_is_not_offered_is_answered_with_the_offer(words, named):
    with pytest.raises(parse.Wrong, match=f'"z" is not one of {named}$'):
        parse.choice("z", words)


def test_a_filter_with_too_many_values_is_refused_wherever_they_are():
    nested = {"a": {"b": {str(n): n for n in range(parse.MOST_TERMS)}}}
    with pytest.raises(Invalid, match="more than 200 values"):
        parse.structure({"metadata": nested}, thread_bodies.ThreadSearch)


@pytest.mark.parametrize(
    ("body", "fits"),
    [
        ({"status": "all"}, True),
        ({"thread_id": "01a2027b-0000-7000-8000-000000000000", "run_ids": []}, True),
        ({}, False),
        ({"status": "zz"}, False),
        ({"run_ids": []}, False),
    ],
)
def test_cancel_takes_a_status_or_named_runs(body, fits):
    try:
        parse.structure(body, run_bodies.CancelRuns)
    except Invalid:
        assert not fits
    else:
        assert fits


def test_credentials_are_never_allowed_together_with_any_origin():
    rules = Cors(allow_origins=("*",), allow_credentials=True)
    assert access.named_origin(rules, "http://a.example") == "http://a.example"
    assert access.named_origin(Cors(allow_origins=("*",)), "http://a.example") == "*"
    assert access.named_origin(Cors(allow_origin_regex="http://a"), "http://a.evil.example") is None


def test_an_integer_beyond_64_bits_that_came_as_a_float_is_refused_and_shown():
    with pytest.raises(Invalid, match="greater than the maximum"):
        parse.structure({"assistant_id": "a", "config": {"recursion_limit": 1e300}}, run_bodies.RunCreate)
