"""What a served project's states may hold, and that a key keeps them from those who have the file."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gatewayd import app
from tests.processes import conftest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PROJECT = Path(__file__).parent / "holding"
KEY = "sixteen letters!"
WORDS = "what nobody else may know "


async def said(told: Any, words: str, thread_id: str | None = None) -> Any:
    run = await told.begin("holding", thread_id, said=words)
    assert (await told.ended(run))["status"] == "success"
    return run


@pytest.mark.parametrize(("strict", "seen"), [("", "Thing"), ("true", "dict")])
async def test_strict_deserialisation_gives_plain_data_for_classes_that_are_not_known(
    serve: conftest.Serve, tell: conftest.Tell, strict: str, seen: str
) -> None:
    told = tell(await serve(PROJECT, env={"LANGGRAPH_STRICT_MSGPACK": strict}))
    first = await said(told, "one")
    second = await said(told, "two", first.thread_id)
    assert (await told.values(second))["seen"] == seen


async def test_under_a_key_states_are_stored_encrypted_and_without_it_nothing_is_served(
    serve: conftest.Serve, tell: conftest.Tell
) -> None:
    served = await serve(PROJECT, env={"LANGGRAPH_AES_KEY": KEY})
    told = tell(served)
    first = await said(told, WORDS)
    second = await said(told, WORDS * 200, first.thread_id)
    assert (await told.values(second))["seen"] == "Thing"
    assert await served.stop() == 0
    with closing(sqlite3.connect(served.data_dir / app.DATABASE)) as connection:
        stored = [
            bytes(value)
            for query in (
                "SELECT checkpoint FROM checkpoints",
                "SELECT value FROM writes",
                "SELECT body FROM blobs WHERE family_id IS NOT NULL",
            )
            for (value,) in connection.execute(query)
        ]
    assert len(stored) > 4
    assert not any(WORDS.encode()[:8] in value or b"Thing" in value for value in stored)

    for key, cause in (("", "LANGGRAPH_AES_KEY is not set"), (KEY[::-1], "LANGGRAPH_AES_KEY is not the key")):
        served.environment["LANGGRAPH_AES_KEY"] = key
        await served.start("started")
        assert await served.wait() == 78
        assert cause in served.log() + served.printed()
    served.environment["LANGGRAPH_AES_KEY"] = KEY
    await served.start()
    assert (await told.values(second))["said"] == WORDS * 200
    assert KEY not in served.log() + served.printed()
