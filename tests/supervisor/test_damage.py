"""What a worker meets when it reads the database is translated by the daemon, which also learns of damage."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from gatewayd import errors
from gatewayd.channel import refusals
from gatewayd.checkpointing import reader
from gatewayd.checkpointing.sqlite.reader import SqliteReader
from gatewayd.storage.sqlite.engine import failures
from gatewayd.worker import core
from gatewayd.worker.states import serde


def test_only_the_readers_own_errors_are_told_with_their_code(tmp_path: Path) -> None:
    path = tmp_path / "db.sqlite"
    with sqlite3.connect(path) as made:
        made.execute("CREATE TABLE checkpoints (thread_id, checkpoint_ns)")
        made.executemany("INSERT INTO checkpoints VALUES ('t', ?)", [("x" * 1000,)] * 50)
    made.close()
    reading = SqliteReader(path, serde=serde.serialiser({}))
    reported: list[reader.Failed] = []
    reading.on_failed = reported.append
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(reader.Failed) as caught:
        reading.namespaces("t")
    reading.close()
    assert reported == [caught.value]
    kind, text, told = refusals.pack(core._refusal("state", caught.value))
    assert (kind, told["code"] & failures.PRIMARY) == ("ReadFailed", sqlite3.SQLITE_CORRUPT)
    assert told["name"].startswith("SQLITE_CORRUPT")
    assert "malformed" in text
    of_an_agent = sqlite3.DatabaseError("malformed")
    of_an_agent.sqlite_errorcode, of_an_agent.sqlite_errorname = told["code"], told["name"]
    assert type(core._refusal("state", of_an_agent)) is errors.GatewaydError


@pytest.mark.parametrize(
    ("code", "kind", "damaged"),
    [
        (sqlite3.SQLITE_CORRUPT, errors.Damaged, True),
        (sqlite3.SQLITE_CORRUPT_INDEX, errors.Damaged, True),
        (sqlite3.SQLITE_NOTADB, errors.Damaged, True),
        (sqlite3.SQLITE_BUSY, failures.Locked, False),
        (sqlite3.SQLITE_LOCKED, failures.Locked, False),
        (sqlite3.SQLITE_IOERR_READ, failures.Unusable, False),
        (sqlite3.SQLITE_READONLY, failures.Unusable, False),
        (sqlite3.SQLITE_CANTOPEN, failures.Unusable, False),
        (sqlite3.SQLITE_FULL, failures.FullDisk, False),
        (sqlite3.SQLITE_ERROR, sqlite3.DatabaseError, False),
    ],
)
async def test_a_read_that_failed_in_a_worker_ends_as_one_of_the_daemons_own(
    start: Any, tmp_path: Path, code: int, kind: type[Exception], damaged: bool
) -> None:
    scene = await start()
    damage = failures.Damage(tmp_path / "db.sqlite")
    scene.supervisor.read_failed = damage.met_elsewhere
    (service,) = scene.of("service")
    asked = asyncio.ensure_future(scene.supervisor.call("state", {}))
    await scene.until(lambda: service.heard("call"))
    service.say(
        "answer",
        service.heard("call")[0][1],
        False,
        ["ReadFailed", "it said so", {"code": code, "name": "SQLITE_X"}],
    )
    with pytest.raises(kind):
        await asked
    assert (damage.found is not None) == damaged


@pytest.mark.parametrize(("code", "damaged"), [(sqlite3.SQLITE_CORRUPT, True), (sqlite3.SQLITE_IOERR, False)])
async def test_damage_that_only_a_run_has_met_is_known_to_the_daemon(
    start: Any, tmp_path: Path, code: int, damaged: bool
) -> None:
    scene = await start()
    damage = failures.Damage(tmp_path / "db.sqlite")
    told = asyncio.Event()

    def read_failed(code: int, name: str, text: str) -> BaseException:
        told.set()
        return damage.met_elsewhere(code, name, text)

    scene.supervisor.read_failed = read_failed
    (working,) = scene.of("run-1")
    working.say("read_failed", code, "SQLITE_X", "it said so")
    async with asyncio.timeout(60):
        await told.wait()
    assert (damage.found is not None) == damaged
