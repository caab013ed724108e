"""When everything is deleted, the next sweeps leave no row of it in any table."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from gatewayd import datadir, ids
from gatewayd.crons import registry
from gatewayd.model.assistant import AssistantChange
from gatewayd.model.caller import INTERNAL
from gatewayd.model.idempotency import Idempotency
from tests.engine import inprocess

PROJECT = Path(__file__).parent / "project" / "langgraph.json"

STAYS = {"boots", "migration", "assistants", "assistant_versions"}
"""What is of the server or the project, and of nobody's requests."""

LATER_US = 3_600_000_000


def filled(data_dir: Path) -> dict[str, int]:
    """Return the tables that have rows, with their number."""
    connection = sqlite3.connect(data_dir / datadir.DATABASE)
    tables = [
        name
        for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        if not name.startswith("sqlite_")
    ]
    counts = {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables}
    connection.close()
    return {name: count for name, count in counts.items() if count}


async def test_what_is_deleted_leaves_no_row(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        before = filled(tmp_path)
        services = daemon.services
        wanted = AssistantChange(graph_id="steps", name="theirs")
        theirs = (await services.assistants.create(INTERNAL, None, wanted, do_nothing=False)).assistant_id
        await services.assistants.patch(INTERNAL, theirs, AssistantChange(name="changed"))
        once = Idempotency(key="k", fingerprint="f")
        thread = await services.threads.create(
            INTERNAL, None, {"graph_id": "steps"}, do_nothing=False, once=once
        )
        made = [thread.thread_id]
        for graph, given in (
            ("steps", {}),
            ("inner_questions", {}),
            ("steps", {"webhook": "http://127.0.0.1:9/"}),
        ):
            made.append(ids.new_id())
            request = inprocess.request(graph, thread_id=made[-1], input={"path": []}, **given)
            await daemon.finish(request)
        await services.changes.update_state(INTERNAL, made[1], values={"path": ["z"]}, as_node="a", place={})
        made.append((await services.changes.copy(INTERNAL, made[2])).thread_id)
        steps = [{"updates": [{"values": {"path": []}, "as_node": "__start__"}]}]
        state = await services.threads.create(
            INTERNAL, None, {"graph_id": "steps"}, do_nothing=False, supersteps=steps
        )
        made.append(state.thread_id)
        await daemon.finish(inprocess.request("steps", thread_id=None, input={"path": []}))
        for thread_id in (None, made[0]):
            body = {"assistant_id": theirs, "schedule": "0 0 1 1 *"}
            await services.crons.create(
                INTERNAL, theirs, "0 0 1 1 *", thread_id, registry.CronFields(payload=body)
            )
        waiting = inprocess.request("steps", thread_id=made[0], input={}, after_s=3600)
        await daemon.create(waiting)
        at_work = filled(tmp_path)
        assert at_work.keys() >= {
            "threads", "runs", "checkpoints", "writes", "events", "crons", "idempotency", "webhooks", "assistant_versions",
        }  # fmt: skip

        for thread_id in made:
            await services.runs.delete_thread(INTERNAL, thread_id)
        await services.assistants.delete(INTERNAL, theirs, delete_threads=True)
        await services.sweeper.sweep(0.0)
        # What has been promised beyond a thread's end goes by its own clock.
        later = time.time_ns() // 1000 + LATER_US
        await services.storage.writer.submit(settle_webhooks)
        await services.storage.idempotency_sweep_step(later, 1000)
        await services.storage.webhooks_sweep_step(later, 1000)
        after = filled(tmp_path)
    assert after.keys() <= STAYS, after
    assert {name: after[name] for name in STAYS} == {name: before[name] for name in STAYS}


def settle_webhooks(connection: sqlite3.Connection) -> None:
    """Have the receiver, which does not exist, give up waiting."""
    connection.execute("UPDATE webhooks SET state = 'dead', due_at = NULL WHERE state = 'owed'")
