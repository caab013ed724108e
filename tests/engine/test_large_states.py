"""States that are stored in pieces, through a whole daemon: updates, forks, copies, deletion, recovery."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from gatewayd import ids, wire
from gatewayd.model.caller import INTERNAL
from tests.engine import inprocess

PROJECT = Path(__file__).parent / "project" / "langgraph.json"


def word(seed: int) -> str:
    return random.Random(seed).randbytes(3000).hex()


async def counts(daemon: inprocess.Daemon) -> list[int]:
    def read(connection: Any) -> list[int]:
        tables = ("blobs", "families", "thread_families", "checkpoints")
        return [connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables]

    return await daemon.writer.submit(read)


async def state(daemon: inprocess.Daemon, thread_id: str) -> dict[str, Any]:
    return wire.loads(await daemon.services.threads.state(INTERNAL, thread_id, subgraphs=False))["values"]


async def walk(daemon: inprocess.Daemon, thread_id: str, seed: int) -> None:
    given = {"word": word(seed), "path": [word(number) for number in range(seed)]}
    request = inprocess.request("steps", thread_id=thread_id, input=given)
    assert (await daemon.finish(request)).status == "success"


async def test_updates_and_copies_share_pieces_and_deletion_frees_them(tmp_path: Path) -> None:
    thread_id = ids.new_id()
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        operations, runs = daemon.services.changes, daemon.services.runs
        await walk(daemon, thread_id, 12)
        await operations.update_state(INTERNAL, thread_id, values={"word": word(99)}, as_node=None, place={})
        # The list grows by what makes up a segment with what is there already.
        for number in range(100, 108):
            await operations.update_state(
                INTERNAL, thread_id, values={"path": [word(number)]}, as_node=None, place={}
            )
        after = await state(daemon, thread_id)
        assert after["path"][-8:] == [word(number) for number in range(100, 108)]
        assert after["word"] == word(99)
        assert set(map(word, range(12))) <= set(after["path"])
        blobs = (await counts(daemon))[0]
        copied = (await operations.copy(INTERNAL, thread_id)).thread_id
        assert (await counts(daemon))[:3] == [blobs, 1, 2]
    # Another boot, other workers: what was stored is read, and what a new run adds is stored.
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        operations, runs = daemon.services.changes, daemon.services.runs
        await runs.delete_thread(INTERNAL, thread_id)
        await daemon.services.sweeper.sweep(0)
        await daemon.services.sweeper.sweep_blobs()
        assert await state(daemon, copied) == after
        await walk(daemon, copied, 13)
        assert (await state(daemon, copied))["word"] == word(13)
        assert await operations.prune(INTERNAL, [copied], "keep_latest") == 1
        await daemon.services.sweeper.sweep_blobs()
        assert (await state(daemon, copied))["word"] == word(13)
        await runs.delete_thread(INTERNAL, copied)
        await daemon.services.sweeper.sweep(0)
        assert await daemon.services.sweeper.sweep_blobs() > 0
        assert await counts(daemon) == [0, 0, 0, 0]


async def test_pieces_of_a_thread_at_work_stay(tmp_path: Path) -> None:
    thread_id = ids.new_id()
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        await walk(daemon, thread_id, 3)
        operation_id = ids.new_id()
        await daemon.services.storage.thread_lock_acquire_for_operation(INTERNAL, thread_id, operation_id)

        def mark(connection: Any) -> None:
            connection.execute("UPDATE families SET garbage = 1")
            connection.execute("DELETE FROM checkpoints")

        await daemon.writer.submit(mark)
        assert await daemon.services.sweeper.sweep_blobs() == 0
