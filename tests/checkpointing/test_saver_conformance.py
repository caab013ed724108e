"""langgraph's own conformance suite for checkpointers, every capability."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from langgraph.checkpoint.conformance import checkpointer_test, validate

from gatewayd.blobs.seal import Seal


@pytest.mark.parametrize(
    ("durability", "key"), [("sync", b""), ("async", b""), ("exit", b""), ("async", b"k" * 32)]
)
@pytest.mark.usefixtures("cutting")
async def test_the_saver_has_every_capability_and_fails_none(
    new_bench: Any, durability: str, key: bytes
) -> None:
    async def savers() -> AsyncIterator[Any]:
        yield new_bench(Seal(key) if key else None).saver(durability=durability)

    report = await validate(checkpointer_test(name="gatewayd")(savers))

    assert {name: result.failures for name, result in report.results.items() if not result.passed} == {}
    assert report.passed_all()
    assert all(result.detected and result.tests_passed for result in report.results.values())
