"""Near misses of known fields are found, and nothing else."""

from __future__ import annotations

import pytest

from gatewayd.api.requests import unknown

KNOWN = ("stream_mode", "stream_subgraphs", "if_not_exists", "ids", "limit", "metadata", "multitask_strategy")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("stream_modes", "stream_mode"),
        ("streamMode", "stream_mode"),
        ("STREAM-MODE", "stream_mode"),
        ("strem_mdoe", "stream_mode"),  # two edits in eleven letters
        ("multitaskStrategy", "multitask_strategy"),
        ("limt", "limit"),
        ("limti", "limit"),  # neighbours swapped are one edit
        ("id", "ids"),
        ("metdata", "metadata"),
        ("metdta", None),  # two edits in eight letters
        ("stream", None),
        ("signal", None),
        ("x" * 100_000, None),
        ("", None),
    ],
)
def test_a_near_miss_is_found(name: str, meant: str | None) -> None:
    assert unknown.nearest(name, KNOWN) == meant


@pytest.mark.parametrize(
    ("one", "other", "edits"),
    [
        ("", "", 0),
        ("a", "", 1),
        ("ab", "ba", 1),
        ("abc", "acb", 1),
        ("kitten", "sitting", 3),
        ("ab", "ab", 0),
    ],
)
def test_the_distance_counts_edits(one: str, other: str, edits: int) -> None:
    assert unknown.distance(one, other) == unknown.distance(other, one) == edits


def test_a_field_that_is_given_is_not_suggested() -> None:
    assert unknown.problem({"limits", "limit"}, KNOWN, "a body") is None
    assert unknown.problem({"limits"}, KNOWN, "a body") == (
        "limits",
        '"limits" is not a known field; did you mean "limit"?',
    )


def test_a_body_of_very_many_unknown_fields_costs_no_more_than_a_few() -> None:
    looked_at: list[str] = []
    find = unknown.nearest
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(unknown, "nearest", lambda name, known: looked_at.append(name) or find(name, known))
        assert unknown.problem({f"field{number}" for number in range(10_000)}, KNOWN, "a body") is None
    assert len(looked_at) == unknown.MOST_EXAMINED
