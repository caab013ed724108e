"""What a served project's states may hold, and that a key keeps them from those who have the file."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gatewayd import datadir
from gatewayd.blobs import cut
from gatewayd.checkpointing.rows import PIECES
from tests.processes import conftest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PROJECT = Path(__file__).parent / "holding"
KEY = "sixteen letters!"
WORDS = "what nobody else may know "


async def said(told: Any, words: str, thread_id: str | None = None) -> Any:
    run = await told.begin("holding", thread_id, said=words)
    assert (await told.ended(run))["status"] == "success"
    return run


def stored_states(database: Path) -> list[bytes]:
    """Return the columns of all checkpoints and writes, and the bodies of the blobs that are below them."""
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute(
            "SELECT format, checkpoint FROM checkpoints UNION ALL SELECT format, value FROM writes"
        ).fetchall()
        blobs = {
            each: (kind, body)
            for each, kind, body in connection.execute("SELECT hash, kind, body FROM blobs")
        }
    found = [bytes(value) for _, value in rows]
    wanted = {each for version, value in rows if version == PIECES for each in cut.references(value)}
    while wanted:
        kind, body = blobs[wanted.pop()]
        found.append(body)
        if kind == cut.SEGMENT:
            wanted.update(cut.split(body))
        elif kind == cut.COMPOUND:
            wanted.update(cut.references(body))
    return found


@pytest.mark.parametrize(
    ("strict", "serde", "seen"),
    [
        ("", {}, "Thing"),
        ("true", {}, "dict"),
        ("", {"allowed_msgpack_modules": None}, "dict"),
        ("true", {"allowed_msgpack_modules": [["__holding", "Thing"]]}, "Thing"),
    ],
)
async def test_strict_deserialisation_gives_plain_data_for_classes_that_are_not_listed(
    serve: conftest.Serve, tell: conftest.Tell, tmp_path: Path, strict: str, serde: dict[str, Any], seen: str
) -> None:
    shutil.copytree(PROJECT, tmp_path / "project")
    config = {
        "graphs": {"holding": "./holding.py:graph"},
        "dependencies": ["."],
        "checkpointer": {"serde": serde},
    }
    (tmp_path / "project" / "langgraph.json").write_text(json.dumps(config))
    told = tell(await serve(tmp_path / "project", env={"LANGGRAPH_STRICT_MSGPACK": strict}))
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
    await told.client.threads.update_state(first.thread_id, {"said": WORDS * 300}, as_node="keep")
    assert (await told.values(second))["said"] == WORDS * 300
    copied = await told.client.threads.copy(first.thread_id)
    assert await served.stop() == 0
    stored = stored_states(served.data_dir / datadir.DATABASE)
    assert len(stored) > 4
    assert not any(WORDS.encode()[:8] in value or b"Thing" in value for value in stored)

    for key, cause in (("", "LANGGRAPH_AES_KEY is not set"), (KEY[::-1], "LANGGRAPH_AES_KEY is not the key")):
        served.environment["LANGGRAPH_AES_KEY"] = key
        await served.start("started")
        assert await served.wait() == 78
        assert cause in served.log() + served.printed()
    served.environment["LANGGRAPH_AES_KEY"] = KEY
    await served.start()
    history = await told.client.threads.get_history(first.thread_id)
    assert [state["values"].get("said", "") for state in history][:2] == [WORDS * 300, WORDS * 200]
    state = await told.client.threads.get_state(copied["thread_id"])
    assert state["values"]["said"] == WORDS * 300
    assert KEY not in served.log() + served.printed()
