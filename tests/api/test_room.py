"""What clients see when there is no room: 507 with a sentence, for what is new; the rest goes on."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

FULL = "max_db_size"


async def test_what_is_new_is_refused_with_507_and_a_sentence_and_the_rest_goes_on(server: Any) -> None:
    thread_id = await server.thread()
    run_id = await server.run(thread_id)
    await server.worker.started(run_id)
    room = server.services.storage.quota
    room.max_db_size = 1
    run = {"assistant_id": "chat"}
    for path, body in (
        ("/threads", {}),
        (f"/threads/{thread_id}/runs", run),
        (f"/threads/{thread_id}/runs/stream", run),
        (f"/threads/{thread_id}/runs/wait", run),
        ("/runs", run),
        ("/runs/batch", [run, run]),
        (f"/threads/{thread_id}/copy", None),
    ):
        refused = await server.json("POST", path, body, status=507)
        assert FULL in refused["detail"], path
    await server.json("GET", f"/threads/{thread_id}")
    await server.json("PATCH", f"/threads/{thread_id}", {"metadata": {"a": 1}})
    server.worker.end(run_id, result=b"{}", values=b"{}", next=[], interrupts={})
    assert (await server.finished(thread_id, run_id)).status == "success"
    await server.json("DELETE", f"/threads/{thread_id}", status=204)
    room.max_db_size = 0
    await server.thread()


async def test_the_long_term_store_counts_and_new_items_are_refused_when_there_is_no_room(
    server: Any, tmp_path: Path
) -> None:
    storage = server.services.storage
    storage.quota.store = tmp_path / "store.sqlite"
    database = sqlite3.connect(storage.quota.store)
    database.execute("CREATE TABLE IF NOT EXISTS filling (content BLOB)")
    database.execute("INSERT INTO filling VALUES (zeroblob(3000000))")
    database.commit()
    database.close()
    storage.quota.max_db_size = storage.space.used + 2_000_000
    item = {"namespace": ["a"], "key": "k", "value": {"b": 1}}
    refused = await server.json("PUT", "/store/items", item, status=507)
    assert "and the long-term store 3." in refused["detail"]
    await server.json("POST", "/threads", {}, status=507)
    storage.quota.max_db_size = 0
    await server.json("POST", "/threads", {})


async def test_the_repeat_of_a_request_that_was_accepted_gets_its_answer_when_there_is_no_room(
    server: Any,
) -> None:
    headers = {"Idempotency-Key": "once"}
    thread_id = await server.thread()
    body = {"assistant_id": "chat"}
    made = await server.json("POST", f"/threads/{thread_id}/runs", body, headers=headers)
    batch = await server.json("POST", "/runs/batch", [body, body], headers={"Idempotency-Key": "both"})
    server.services.storage.quota.max_db_size = 1
    again = await server.json("POST", f"/threads/{thread_id}/runs", body, headers=headers)
    assert again["run_id"] == made["run_id"]
    repeated = await server.json("POST", "/runs/batch", [body, body], headers={"Idempotency-Key": "both"})
    assert [each["run_id"] for each in repeated] == [each["run_id"] for each in batch]
    await server.json(
        "POST", f"/threads/{thread_id}/runs", body, headers={"Idempotency-Key": "new"}, status=507
    )
