"""Operations on threads with real graphs: what runs see of them, what a crash leaves of them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gatewayd import ids, wire
from gatewayd.checkpointing.sqlite import steps
from gatewayd.errors import Conflict
from gatewayd.model.caller import INTERNAL
from gatewayd.storage.sqlite import operations
from tests.engine import inprocess

PROJECT = Path(__file__).parent / "project" / "langgraph.json"

TABLES = ("threads", "checkpoints", "writes", "events", "thread_locks")


async def walked(daemon: inprocess.Daemon, graph: str, thread_id: str | None = None) -> str:
    """Return a thread on which the graph has run as far as it goes."""
    thread_id = thread_id or ids.new_id()
    request = inprocess.request(graph, thread_id=thread_id, input={"word": "w", "path": []})
    assert (await daemon.finish(request)).status == "success"
    return thread_id


async def update(daemon: inprocess.Daemon, thread_id: str, values: Any, **asked: Any) -> dict[str, Any]:
    params: dict[str, Any] = {"as_node": None, "place": {}, **asked}
    return await daemon.services.changes.update_state(INTERNAL, thread_id, values=values, **params)


async def state(daemon: inprocess.Daemon, thread_id: str) -> dict[str, Any]:
    return wire.loads(await daemon.services.threads.state(INTERNAL, thread_id, subgraphs=True))


async def history(daemon: inprocess.Daemon, thread_id: str, namespace: str = "") -> list[dict[str, Any]]:
    return wire.loads(
        await daemon.services.threads.history(INTERNAL, thread_id, limit=100, checkpoint_ns=namespace)
    )


async def dump(daemon: inprocess.Daemon, *tables: str) -> list[Any]:
    def read(connection: Any) -> list[Any]:
        return [
            connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3, 4").fetchall() for table in tables
        ]

    return await daemon.writer.submit(read)


async def die(daemon: inprocess.Daemon, under_way: asyncio.Task[Any]) -> None:
    """Drop the daemon in the middle of an operation, whose answer never comes."""
    daemon.abandon()
    await daemon.services.runs._requests.stop()
    await asyncio.wait([under_way])


class Gate:
    """Holds the answers of the service worker back."""

    def __init__(self, daemon: inprocess.Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.open = asyncio.Event(), asyncio.Event()
        workers = type(daemon.services.workers)
        call = workers.call

        async def held(supervisor: Any, method: str, params: dict[str, Any]) -> Any:
            answer = await call(supervisor, method, params)
            if method in {"update", "kept"}:
                self.reached.set()
                await self.open.wait()
            return answer

        monkeypatch.setattr(workers, "call", held)


async def test_a_run_that_waits_for_an_update_sees_what_it_has_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = await walked(daemon, "steps")
        gate = Gate(daemon, monkeypatch)
        updating = asyncio.create_task(update(daemon, thread_id, {"path": ["updated"]}))
        await gate.reached.wait()
        admission = await daemon.create(inprocess.request("steps", thread_id=thread_id, input={"word": "v"}))
        run = await daemon.services.storage.run_get(INTERNAL, thread_id, admission.run.run_id)
        assert run is not None
        assert (run.status, run.attempt) == ("pending", 0)
        gate.open.set()
        await updating
        assert admission.ended is not None
        ended = await admission.ended
        assert wire.loads(ended.result)["path"] == ["a:w", "b:w", "c:w", "updated", "a:v", "b:v", "c:v"]


async def test_an_update_of_a_subgraph_leaves_the_parents_projection_and_is_gone_on_from(
    tmp_path: Path,
) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = await walked(daemon, "inner_questions")
        before = await daemon.services.storage.thread_get(INTERNAL, thread_id)
        (inside,) = [task["checkpoint"] for task in (await history(daemon, thread_id))[0]["tasks"][:1]]
        made = await update(
            daemon, thread_id, {"path": ["changed"]}, place={"checkpoint_ns": inside["checkpoint_ns"]}
        )
        assert made["checkpoint_ns"] == inside["checkpoint_ns"]
        assert set(made["checkpoint_map"]) == {"", inside["checkpoint_ns"]}
        after = await daemon.services.storage.thread_get(INTERNAL, thread_id)
        assert (after.values, after.interrupts, after.status) == (
            before.values,
            before.interrupts,
            "interrupted",
        )
        command = {"resume": "yes"}
        await daemon.finish(inprocess.request("inner_questions", thread_id=thread_id, command=command))
        nested = (await state(daemon, thread_id))["tasks"][0]["state"]
        assert "changed" in nested["values"]["path"]
        (asked,) = nested["interrupts"]
        assert asked["value"] == {"question": "second", "after": "yes"}


async def test_the_second_click_after_an_update_of_a_subgraph_answers_no_further_question(
    tmp_path: Path,
) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = await walked(daemon, "inner_questions")
        inside = (await history(daemon, thread_id))[0]["tasks"][0]["checkpoint"]["checkpoint_ns"]
        await update(daemon, thread_id, {"path": ["changed"]}, place={"checkpoint_ns": inside})
        answer = inprocess.request("inner_questions", thread_id=thread_id, command={"resume": "yes"})
        clicks = [await daemon.create(answer) for _ in range(2)]
        assert [(await click.ended).status for click in clicks if click.ended] == ["success", "success"]
        asked = (await daemon.services.storage.thread_get(INTERNAL, thread_id)).interrupts or {}
        assert [one["value"] for each in asked.values() for one in each] == [
            {"question": "second", "after": "yes"}
        ]


async def test_a_state_updates_event_has_the_state_that_it_has_made(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = await walked(daemon, "two_questions")
        first = (await history(daemon, thread_id))[-1]["checkpoint_id"]
        made = await update(
            daemon, thread_id, {"word": "back"}, as_node="before", place={"checkpoint_id": first}
        )
        record = (await daemon.log(thread_id))[-1]
        assert (record.kind, record.run_id) == ("state_update", "")
        told = wire.loads(record.data)
        assert told["thread_id"] == thread_id
        assert told["state"] == {**await state(daemon, thread_id)}
        assert told["state"]["checkpoint_id"] == made["checkpoint_id"]
        assert told["state"]["parent_checkpoint_id"] == first


@pytest.mark.parametrize("graph", ["two_questions", "inner_questions"])
async def test_a_copy_goes_on_by_itself_with_the_answers_to_its_own_questions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, graph: str
) -> None:
    monkeypatch.setattr(steps, "STEP_ROWS", 3)
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = await walked(daemon, graph)
        copied = await daemon.services.changes.copy(INTERNAL, thread_id)
        source = await daemon.services.storage.thread_get(INTERNAL, thread_id)
        assert copied.thread_id != thread_id
        for name in ("status", "values", "interrupts", "error", "metadata"):
            assert getattr(copied, name) == getattr(source, name)
        before = await history(daemon, thread_id)

        def renamed(one: Any) -> Any:
            return wire.loads(wire.text(one).replace(copied.thread_id, thread_id))

        assert renamed(await history(daemon, copied.thread_id)) == before
        answer = inprocess.request(graph, thread_id=copied.thread_id, command={"resume": "yes"})
        await daemon.finish(answer)
        asked = (await daemon.services.storage.thread_get(INTERNAL, copied.thread_id)).interrupts
        assert [one["value"]["question"] for each in (asked or {}).values() for one in each] == ["second"]
        assert await history(daemon, thread_id) == before
        assert await daemon.services.storage.thread_get(INTERNAL, thread_id) == source


@pytest.mark.parametrize("graph", ["two_questions", "inner_questions", "scattering"])
async def test_a_pruned_thread_has_its_latest_states_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, graph: str
) -> None:
    monkeypatch.setattr(steps, "STEP_ROWS", 3)
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = await walked(daemon, graph)
        before, thread = (
            await state(daemon, thread_id),
            await daemon.services.storage.thread_get(INTERNAL, thread_id),
        )
        assert len(await history(daemon, thread_id)) > 1
        assert await daemon.services.changes.prune(INTERNAL, [thread_id], "keep_latest") == 1
        assert len(await history(daemon, thread_id)) == 1
        assert await state(daemon, thread_id) == before
        assert await daemon.services.storage.thread_get(INTERNAL, thread_id) == thread
        pruned = await dump(daemon, "checkpoints", "writes")
        assert await daemon.services.changes.prune(INTERNAL, [thread_id], "keep_latest") == 1
        assert await dump(daemon, "checkpoints", "writes") == pruned
        going_on = {"command": {"resume": "yes"}} if thread.interrupts else {"input": {"word": "v"}}
        ended = await daemon.finish(inprocess.request(graph, thread_id=thread_id, **going_on))
        assert ended.status == "success"
        after = (await state(daemon, thread_id))["values"]["path"]
        assert after[: len(before["values"]["path"])] == before["values"]["path"]


async def test_a_thread_is_not_copied_while_it_is_updated_but_right_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = await walked(daemon, "steps")
        gate = Gate(daemon, monkeypatch)
        updating = asyncio.create_task(update(daemon, thread_id, {"path": ["updated"]}))
        await gate.reached.wait()
        copying = asyncio.create_task(daemon.services.changes.copy(INTERNAL, thread_id))
        await daemon.services.storage.counters()
        assert not copying.done()
        gate.open.set()
        await updating
        assert wire.loads((await copying).values)["path"] == ["a:w", "b:w", "c:w", "updated"]


async def test_a_thread_that_is_deleted_while_it_is_pruned_is_gone_and_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = await walked(daemon, "steps")
        gate = Gate(daemon, monkeypatch)
        pruning = asyncio.create_task(daemon.services.changes.prune(INTERNAL, [thread_id], "keep_latest"))
        await gate.reached.wait()
        await daemon.services.runs.delete_thread(INTERNAL, thread_id)
        gate.open.set()
        assert await pruning == 0
        assert (await dump(daemon, "thread_locks")) == [[]]


async def test_a_crash_leaves_all_of_an_update_or_nothing_and_the_thread_free(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT, writer=inprocess.CrashingWriter) as daemon:
        thread_id = await walked(daemon, "steps")
        before = await dump(daemon, *TABLES)
        daemon.writer.crash_when(lambda function, _: function is operations.state_update_if_held)
        updating = asyncio.create_task(update(daemon, thread_id, {"path": ["lost"]}))
        await daemon.writer.crashed.wait()
        await die(daemon, updating)
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        assert await dump(daemon, *TABLES) == before
        await update(daemon, thread_id, {"path": ["kept"]})
        assert (await state(daemon, thread_id))["values"]["path"] == ["a:w", "b:w", "c:w", "kept"]


async def test_an_update_that_was_answered_survives_a_crash(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT, writer=inprocess.CrashingWriter) as daemon:
        thread_id = await walked(daemon, "steps")
        made = await update(daemon, thread_id, {"path": ["kept"]})
        before = await dump(daemon, *TABLES)
        daemon.abandon()
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        assert await dump(daemon, *TABLES) == before
        assert (await state(daemon, thread_id))["checkpoint_id"] == made["checkpoint_id"]


@pytest.mark.parametrize("step", ["thread_copy_step", "thread_copy_end"])
async def test_a_crash_in_a_copy_leaves_no_half_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(steps, "STEP_ROWS", 3)
    async with inprocess.opened(tmp_path, PROJECT, writer=inprocess.CrashingWriter) as daemon:
        thread_id = await walked(daemon, "steps")
        before = await dump(daemon, *TABLES)
        seen: list[str] = []

        def fatal(function: Any, _: Any) -> bool:
            seen.append(function.__name__)
            return seen[-1] == step and seen.count("thread_copy_step") > 1

        daemon.writer.crash_when(fatal)
        copying = asyncio.create_task(daemon.services.changes.copy(INTERNAL, thread_id))
        await daemon.writer.crashed.wait()
        await die(daemon, copying)
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        assert await dump(daemon, *TABLES) != before
        await daemon.services.sweeper.sweep(0)
        assert await dump(daemon, *TABLES) == before
        await daemon.services.changes.copy(INTERNAL, thread_id)


async def test_a_run_in_flight_refuses_operations_until_it_has_ended(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id = await walked(daemon, "two_questions")
        daemon.services.runs.engine.workers.pause(True)  # nobody hears of its end
        admission = await daemon.create(
            inprocess.request("parallel", thread_id=thread_id, input={"word": "v"})
        )
        with pytest.raises(Conflict, match=admission.run.run_id):
            await update(daemon, thread_id, {})
        assert await daemon.services.changes.prune(INTERNAL, [thread_id], "keep_latest") == 0
        daemon.services.runs.engine.workers.pause(False)
        assert admission.ended is not None
        assert (await admission.ended).status == "success"
        await update(daemon, thread_id, {"word": "after"}, as_node="join")
