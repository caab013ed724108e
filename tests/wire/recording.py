"""Recorded conversations: read, written, compared."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import attrs

FOLDER: Final = Path(__file__).with_name("recorded")
NOTHING: Final = "<nothing>"


@attrs.frozen(kw_only=True, eq=False)
class Difference:
    """One place where two conversations differ."""

    scenario: str
    ask: str
    """Method and path of the exchange."""
    place: str
    """Where in the exchange: status, headers.location, answer.values.0.name."""
    expected: Any
    observed: Any

    def __str__(self) -> str:
        """Show it in two lines."""
        expected, observed = (
            json.dumps(value, ensure_ascii=False)[:400] for value in (self.expected, self.observed)
        )
        return f"{self.scenario} | {self.ask} | {self.place}\n    reference: {expected}\n    gatewayd:  {observed}"


def write(name: str, steps: list[dict[str, Any]]) -> None:
    """Store a conversation, an exchange a line."""
    lines = ",\n".join(json.dumps(step, ensure_ascii=False, separators=(",", ":")) for step in steps)
    (FOLDER / f"{name}.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def read(name: str) -> list[dict[str, Any]]:
    """Return a stored conversation."""
    steps: list[dict[str, Any]] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return steps


def differences(
    name: str, expected: list[dict[str, Any]], observed: list[dict[str, Any]]
) -> Iterator[Difference]:
    """Yield the places where a conversation is not as it was recorded."""
    asked = ([(step["ask"], step.get("body")) for step in steps] for steps in (expected, observed))
    assert next(asked) == next(asked), f"{name} asks something else than was recorded: record it again"
    for before, now in zip(expected, observed, strict=True):
        if before["status"] != now["status"]:
            was, is_ = ([step["status"], step["answer"]] for step in (before, now))
            yield Difference(scenario=name, ask=before["ask"], place="status", expected=was, observed=is_)
            continue
        for part in ("status", "headers", "answer"):
            for place, was, is_ in _compare(part, before.get(part), now.get(part)):
                yield Difference(scenario=name, ask=before["ask"], place=place, expected=was, observed=is_)


def _compare(place: str, expected: Any, observed: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(expected, dict) and isinstance(observed, dict):
        for key in sorted(expected.keys() | observed.keys()):
            yield from _compare(f"{place}.{key}", expected.get(key, NOTHING), observed.get(key, NOTHING))
    elif isinstance(expected, list) and isinstance(observed, list):
        for n in range(max(len(expected), len(observed))):
            pair = (items[n] if n < len(items) else NOTHING for items in (expected, observed))
            yield from _compare(f"{place}.{n}", *pair)
    elif type(expected) is not type(observed) or expected != observed:
        yield place, expected, observed
