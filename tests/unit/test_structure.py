"""Counting the values of a JSON text before it is parsed."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from gatewayd.errors import Invalid
from gatewayd.structure import Structure

TEXTS = ['"', "\\", '\\"', "[{,", "", "a" * 50, 'x\\\\"[', "\\\\", "ä[,", "\n"]


def values(value: Any) -> int:
    """Return how many values there are, an empty list or object counted as two."""
    match value:
        case dict() | list():
            inner = value.values() if isinstance(value, dict) else value
            return 1 + max(1, sum(values(each) for each in inner))
        case _:
            return 1


def some_json(draw: random.Random, depth: int = 0) -> Any:
    kind = draw.randrange(6 if depth < 4 else 3)
    if kind >= 4:
        return [some_json(draw, depth + 1) for _ in range(draw.randrange(4))]
    if kind == 3:
        return {draw.choice(TEXTS) + str(n): some_json(draw, depth + 1) for n in range(draw.randrange(4))}
    return draw.choice([*TEXTS, 1, -2.5, None, True])


def count(data: bytes, cuts: list[int], most: int = 10**9) -> int:
    counted = Structure(most)
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        counted.feed(data[start:end])
    return counted.values


@pytest.mark.parametrize("seed", range(50))
def test_values_are_counted_outside_of_strings_wherever_the_text_is_cut(seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(40):
        value = some_json(draw)
        data = json.dumps(value, ensure_ascii=draw.random() < 0.5).encode()
        cuts = sorted(draw.randrange(len(data) + 1) for _ in range(draw.randrange(6)))
        assert count(data, cuts) == values(value), (data, cuts)
        assert count(data, list(range(len(data)))) == values(value), data


def test_more_values_than_the_limit_are_refused_with_it() -> None:
    assert count(b"[1,2,3]", [], most=4) == 4
    with pytest.raises(Invalid, match="more than 4 values"):
        count(b"[1,2,3,4]", [3], most=4)
