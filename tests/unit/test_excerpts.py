"""The beginnings of long texts."""

from __future__ import annotations

import pytest

from gatewayd.excerpts import excerpt


@pytest.mark.parametrize("text", ["", "a" * 100, "ä" * 50, "\U0001f600" * 25])
def test_what_fits_is_whole(text: str) -> None:
    assert excerpt(text, 100) is text


@pytest.mark.parametrize("text", ["a" * 101, "ä" * 51, "\U0001f600" * 26, "a" * 10_000, "\ud800" * 200])
def test_what_does_not_fit_ends_with_a_mark_within_the_limit(text: str) -> None:
    found = excerpt(text, 100)
    assert len(found.encode()) <= 100
    assert found.endswith(f"… [cut, {len(text)} characters in all]")
    assert found[0] in {text[0], "?"}
