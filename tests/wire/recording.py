"""Recorded conversations: read, written, compared."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import attrs

CONTRACT: Final = "0.16.7"
"""The version of the reference whose answers are the contract."""
FOLDER: Final = Path(__file__).with_name("recorded")
"""The contract's recordings; those of other versions are in a folder each, as far as they differ."""
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
        """Show it as that of gatewayd from the reference."""
        return self.shown("reference", "gatewayd")

    def shown(self, *whose: str) -> str:
        """Show it: the place, and what is there in either conversation."""
        lines = (
            f"\n    {one}: {json.dumps(value, ensure_ascii=False)[:400]}"
            for one, value in zip(whose, (self.expected, self.observed), strict=True)
        )
        return f"{self.scenario} | {self.ask} | {self.place}{''.join(lines)}"


def folder_of(version: str) -> Path:
    """Return the folder with the recordings of a version of the reference."""
    return FOLDER if version == CONTRACT else FOLDER / version


def write(name: str, steps: list[dict[str, Any]], version: str = CONTRACT) -> None:
    """
    Store a conversation with a version, an exchange a line; one that is the contract's is not stored again.
    """
    path = folder_of(version) / f"{name}.json"
    if version != CONTRACT and (FOLDER / path.name).exists() and steps == read(name):
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(exist_ok=True)
    lines = ",\n".join(json.dumps(step, ensure_ascii=False, separators=(",", ":")) for step in steps)
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def read(name: str, version: str = CONTRACT) -> list[dict[str, Any]]:
    """
    Return a stored conversation with a version; it is the contract's if that version has none of its own.
    """
    path = folder_of(version) / f"{name}.json"
    if not path.exists():
        path = FOLDER / path.name
    steps: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
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


def compared(before: str, after: str) -> Iterator[Difference]:
    """Yield the places where the conversations with two versions of the reference differ."""
    for name in sorted(
        {path.stem for version in (before, after) for path in folder_of(version).glob("*.json")}
    ):
        if not (folder_of(CONTRACT) / f"{name}.json").exists():
            continue  # recorded of one version only
        yield from differences(name, read(name, before), read(name, after))


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
