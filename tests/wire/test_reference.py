"""
gatewayd answers as the reference server does: the scenarios against its recorded answers.

Where it does not, tests/wire/differences.py says why; a row there that nothing needs any more is a failure,
too.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import attrs
import pytest

from tests.wire import recording, scenario
from tests.wire.conversation import Connection
from tests.wire.differences import ROWS, Row, row_for

SCENARIOS = scenario.load()
AT_ONCE = 4


@attrs.define
class Comparison:
    """What became of the scenarios."""

    differences: dict[str, list[recording.Difference]] = attrs.field(factory=dict)
    """By scenario: those without a reason."""
    needed: set[Row] = attrs.field(factory=set)
    broken: dict[str, Exception] = attrs.field(factory=dict)


pytestmark = pytest.mark.xdist_group("reference")  # one server for all


@pytest.fixture(scope="module")
def compared(served: str) -> Comparison:
    """Play all scenarios, some side by side."""
    return asyncio.run(_compare(served))


async def _compare(url: str) -> Comparison:
    comparison = Comparison()
    places = asyncio.Semaphore(AT_ONCE)

    async def one(name: str) -> None:
        async with places, Connection(url) as conversation:
            try:
                await SCENARIOS[name](conversation)
                found = list(recording.differences(name, recording.read(name), conversation.written()))
            except Exception as error:
                comparison.broken[name] = error
                return
            rows = {difference: row_for(difference) for difference in found}
            comparison.differences[name] = [difference for difference, row in rows.items() if row is None]
            comparison.needed |= {row for row in rows.values() if row is not None}

    await asyncio.gather(*(one(name) for name in SCENARIOS))
    return comparison


@pytest.mark.parametrize("name", SCENARIOS)
def test_answers_are_those_of_the_reference(name: str, compared: Comparison) -> None:
    if name in compared.broken:
        raise compared.broken[name]
    assert not compared.differences[name], "\n" + "\n".join(map(str, compared.differences[name]))


def test_every_known_difference_still_exists(compared: Comparison) -> None:
    assert not compared.broken, "not every scenario could be played"
    assert [row for row in ROWS if row not in compared.needed] == []


def test_every_recording_has_its_scenario() -> None:
    assert sorted(Path(path).stem for path in recording.FOLDER.glob("*.json")) == sorted(SCENARIOS)
