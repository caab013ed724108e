"""
Whole states in parts, from the graph to the client and to the end of everything, through a whole daemon.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gatewayd import ids, wire
from gatewayd.checkpointing import commands
from gatewayd.model import event
from gatewayd.model.caller import INTERNAL
from gatewayd.model.state import Parts
from gatewayd.storage import store
from gatewayd.storage.sqlite import blobs, joined
from gatewayd.storage.sqlite.store import SqliteStore
from gatewayd.streams import hub
from tests.engine import inprocess

PROJECT = Path(__file__).parent / "project" / "langgraph.json"


def path(length: int) -> list[str]:
    return [f"{number}:{'long ' * 120}" for number in range(length)]


def asked(thread_id: str, length: int, **changes: Any) -> Any:
    kwargs: dict[str, Any] = {"input": {"word": "w", "path": path(length)}, **changes}
    return inprocess.request("steps", thread_id=thread_id, **kwargs)


async def count(daemon: inprocess.Daemon, table: str) -> int:
    def read(connection: Any) -> int:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])

    return await daemon.writer.submit(read)


async def told(daemon: inprocess.Daemon, thread_id: str, ended: Any) -> bytes:
    found = await daemon.services.storage.state_joined(thread_id, ended.result)
    assert found is not None
    return found


async def test_values_result_and_last_event_are_the_same_state(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = ids.new_id()
        first = await daemon.finish(asked(thread_id, 40))
        second = await daemon.finish(asked(thread_id, 2))
        assert isinstance(second.result, Parts)
        result = await told(daemon, thread_id, second)
        expected = [*path(40), "a:w", "b:w", "c:w", *path(2), "a:w", "b:w", "c:w"]
        assert result == wire.dumps({"word": "w", "path": expected})
        assert await told(daemon, thread_id, first) == wire.dumps({"word": "w", "path": expected[:43]})
        thread = await daemon.services.storage.thread_get(INTERNAL, thread_id)
        assert thread.values == result
        records = await daemon.log(thread_id)
        values = [record.data for record in records if record.kind == "values"]
        assert values[-1] == result
        assert len(wire.loads(values[0])["path"]) == 40
        answer = wire.loads(await daemon.services.threads.state(INTERNAL, thread_id))
        assert answer["values"] == wire.loads(result)


async def test_a_later_run_costs_what_it_adds(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = ids.new_id()
        await daemon.finish(asked(thread_id, 300))
        before = await count(daemon, "blobs")
        await daemon.finish(asked(thread_id, 1, stream_mode=["values", "checkpoints", "debug", "tasks"]))
        assert await count(daemon, "blobs") < before + 90

        def largest(connection: Any) -> int:
            row = connection.execute("SELECT max(length(records) + coalesce(length(parts), 0)) FROM events")
            return int(row.fetchone()[0])

        assert await daemon.writer.submit(largest) < 20_000


DAMAGES = {
    "pieces are missing": "DELETE FROM blobs WHERE family_id IN (SELECT family_id FROM thread_families WHERE thread_id = ?)",
    "pieces are damaged": "UPDATE blobs SET kind = 2, body = x'00112233' WHERE family_id IN "
    "(SELECT family_id FROM thread_families WHERE thread_id = ?)",
    "pieces are no MessagePack": "UPDATE blobs SET kind = 4, body = x'ff' WHERE family_id IN "
    "(SELECT family_id FROM thread_families WHERE thread_id = ?)",
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_state_that_cannot_be_read_is_null_with_a_line_in_the_log_and_takes_no_other_with_it(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        storage, threads = daemon.services.storage, daemon.services.threads
        bad, good = ids.new_id(), ids.new_id()
        ended = {thread_id: await daemon.finish(asked(thread_id, 40)) for thread_id in (bad, good)}
        (run,) = await storage.runs_list(INTERNAL, bad, status=None, limit=1, offset=0)
        await daemon.writer.submit(lambda connection: connection.execute(DAMAGES[damage], (bad,)) and None)
        storage.states = joined.States(storage.states.scanner)  # nothing is left in memory
        caplog.clear()

        found = await storage.threads_search(INTERNAL, store.ThreadSearch())
        assert {each.thread_id: each.values for each in found.threads}[bad] is None
        whole = {each.thread_id: each.values for each in found.threads}[good]
        assert len(wire.loads(whole or b"")["path"]) == 43
        matching = await storage.threads_search(INTERNAL, store.ThreadSearch(values={"word": "w"}))
        assert [each.thread_id for each in matching.threads] == [good]
        assert (await storage.thread_get(INTERNAL, bad)).values is None
        assert await storage.state_joined(bad, ended[bad].result) is None
        assert await storage.webhook_values(run) is None
        assert [record.kind for record in await daemon.log(bad)][-1] == "end"
        assert f"a state of thread {bad}" in caplog.text
        caplog.clear()

        state = wire.loads(await threads.state(INTERNAL, bad))
        assert state["values"] is None
        assert state["metadata"]["step"] == 3
        assert f"of thread {bad} is shown as null" in caplog.text
        history = wire.loads(await threads.history(INTERNAL, bad, limit=10))
        assert [each["values"] for each in history] == [None] * 5
        assert [each["metadata"]["step"] for each in history] == [3, 2, 1, 0, -1]
        assert len(wire.loads(await threads.state(INTERNAL, good))["values"]["path"]) == 43


async def test_a_history_shows_the_states_that_can_be_read_around_one_that_cannot(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = ids.new_id()
        await daemon.finish(asked(thread_id, 40))
        before = wire.loads(await daemon.services.threads.history(INTERNAL, thread_id, limit=10))
        bad = before[2]["checkpoint_id"]
        damage = "UPDATE checkpoints SET checkpoint = x'93c40002c401ff' WHERE checkpoint_id = ?"
        await daemon.writer.submit(lambda connection: connection.execute(damage, (bad,)) and None)
        after = wire.loads(await daemon.services.threads.history(INTERNAL, thread_id, limit=10))
        assert after[2]["values"] is None
        assert [each["checkpoint_id"] for each in after] == [each["checkpoint_id"] for each in before]
        assert after[:2] + after[3:] == before[:2] + before[3:]


async def test_a_run_does_not_go_on_from_a_state_that_cannot_be_read(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = ids.new_id()
        await daemon.finish(asked(thread_id, 40))
        damage = DAMAGES["pieces are missing"]
        await daemon.writer.submit(lambda connection: connection.execute(damage, (thread_id,)) and None)
        ended = await daemon.finish(asked(thread_id, 1))
        assert ended.status == "error"


async def test_who_follows_a_conversation_makes_the_server_read_nothing_again(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = ids.new_id()
        await daemon.finish(asked(thread_id, 200))
        storage = daemon.services.storage
        seen: list[bytes] = []
        with hub.Cursor(daemon.services.hub, thread_id, (await storage.events_last(thread_id))[0]) as cursor:
            reads = []
            for _ in range(3):
                run = asyncio.ensure_future(daemon.finish(asked(thread_id, 2)))
                over = False
                while not over:
                    for chunk in await cursor.page():
                        seen += [record.data for record in chunk.records if record.kind == "values"]
                        over = over or chunk.records[-1].kind == "end"
                await run
                reads.append(storage.states.reads)
        assert reads[0] == reads[-1] == 1
        lengths = [len(wire.loads(data)["path"]) for data in seen]
        assert lengths == [205, 206, 207, 208, 210, 211, 212, 213, 215, 216, 217, 218]


async def test_a_reader_that_is_cut_off_while_a_state_is_joined_gets_it_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = ids.new_id()
        await daemon.finish(asked(thread_id, 50))
        storage = daemon.services.storage
        gate, arrived = asyncio.Event(), asyncio.Event()
        join = joined.States.joined

        async def slowly(*args: Any) -> bytes:
            arrived.set()
            await gate.wait()
            return await join(*args)

        monkeypatch.setattr(joined.States, "joined", slowly)
        with hub.Cursor(daemon.services.hub, thread_id, 0) as cursor:
            page = asyncio.ensure_future(cursor.page())
            await arrived.wait()
            page.cancel()
            await asyncio.wait([page])
            gate.set()
            seqs = []
            while not seqs or seqs[-1] < (await storage.events_last(thread_id))[0]:
                seqs += [record.seq for chunk in await cursor.page() for record in chunk.records]
        assert seqs == list(range(1, seqs[-1] + 1))


async def test_after_everything_is_deleted_no_piece_is_left(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        runs, threads = daemon.services.runs, [ids.new_id(), ids.new_id()]
        for thread_id in threads:
            for length in (30, 4):
                await daemon.finish(asked(thread_id, length))
            params: dict[str, Any] = {"as_node": None, "place": {}}
            update = {"word": "w", "path": path(20)}
            await daemon.services.changes.update_state(INTERNAL, thread_id, values=update, **params)
            await daemon.finish(asked(thread_id, 1))
        threads.append((await daemon.services.changes.copy(INTERNAL, threads[0])).thread_id)
        assert (await daemon.services.storage.thread_get(INTERNAL, threads[-1])).values
        for thread_id in threads[::2]:
            await runs.delete_thread(INTERNAL, thread_id)
        await daemon.services.sweeper.sweep(0.0)
        await daemon.services.sweeper.sweep_blobs()
        assert await count(daemon, "blobs") > 0
        assert len(await daemon.log(threads[1])) > 10
        await runs.delete_thread(INTERNAL, threads[1])
        await daemon.services.sweeper.sweep(0.0)
        await daemon.services.sweeper.sweep_blobs()
        for table in ("blobs", "families", "thread_families"):
            assert await count(daemon, table) == 0


async def test_an_update_tells_of_a_large_state_and_stores_it_once(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = ids.new_id()
        await daemon.finish(asked(thread_id, 60))
        params: dict[str, Any] = {"as_node": None, "place": {}}
        await daemon.services.changes.update_state(
            INTERNAL, thread_id, values={"word": "v", "path": path(1)}, **params
        )
        (record,) = [each for each in await daemon.log(thread_id) if each.kind == "state_update"]
        data = wire.loads(record.data)
        state = wire.loads(await daemon.services.threads.state(INTERNAL, thread_id))
        assert data == {"state": state, "thread_id": thread_id}
        thread = await daemon.services.storage.thread_get(INTERNAL, thread_id)
        assert isinstance(thread.values, bytes)
        assert wire.loads(thread.values) == state["values"]


async def test_a_run_whose_pieces_are_not_there_ends_with_its_state_computed_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Pieces go with an event that was not stored; the end that relies on them must not wait for them for ever.
    """
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        real, lost = SqliteStore.events_append, []

        def lose(storage: SqliteStore, chunk: Any, *rest: Any) -> None:
            if chunk.parts:
                lost.append(chunk)
                chunk.packed, chunk.parts, chunk.blobs = event.pack([]), (), ()
            real(storage, chunk, *rest)

        monkeypatch.setattr(SqliteStore, "events_append", lose)
        thread_id = ids.new_id()
        async with asyncio.timeout(20):
            ended = await daemon.finish(asked(thread_id, 50))
        assert lost
        assert ended.status == "success"
        result = await told(daemon, thread_id, ended)
        assert wire.loads(result)["path"] == [*path(50), "a:w", "b:w", "c:w"]
        assert (await daemon.services.storage.thread_get(INTERNAL, thread_id)).values == result


async def test_many_pieces_go_ahead_in_portions(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT, writer=inprocess.CrashingWriter) as daemon:
        thread_id = ids.new_id()
        ended = await daemon.finish(asked(thread_id, 2000))
        assert wire.loads(await told(daemon, thread_id, ended))["path"][:2000] == path(2000)
        ahead = [args for function, args in daemon.writer.taken if function is blobs.parts_store_if_running]
        assert ahead
        assert all(len(args[2]) <= commands.PORTION for args in ahead)
