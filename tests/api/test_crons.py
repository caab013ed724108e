"""
Crons over HTTP: records, searches, changes and refusals. When they fire is tested where the clock is played.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from datetime import UTC, datetime, timedelta

from langgraph_sdk import get_client

from gatewayd import ids
from gatewayd.crons import ticker
from gatewayd.storage.sqlite.store import SqliteStore

UNKNOWN = "01a20283-0000-7000-8000-000000000000"
DAILY = {"assistant_id": "chat", "schedule": "0 3 * * *"}


async def create(server, thread_id=None, **body):
    path = "/runs/crons" if thread_id is None else f"/threads/{thread_id}/runs/crons"
    return await server.json("POST", path, DAILY | body)


def wrong(sentence, keyword, field, shown):
    return (
        f'{sentence}\n\nFailed validating "{keyword}" in schema["properties"]["{field}"]\n\n'
        f'On instance["{field}"]:\n    {shown}'
    )


async def test_a_stateless_cron_has_the_references_fields(server):
    made = await create(server, input={"v": 1}, metadata={"m": 1}, zz=5)
    assistant_id = ids.system_assistant_id("chat")
    assert uuid.UUID(made["cron_id"]).version == 7
    assert made["created_at"] == made["updated_at"]
    due = datetime.fromisoformat(made["next_run_date"])
    assert (due.hour, due.minute, due.second, due.tzinfo) == (3, 0, 0, UTC)
    assert timedelta(0) < due - datetime.now(UTC) <= timedelta(days=1)
    names = ("cron_id", "next_run_date", "created_at", "updated_at")
    assert {name: made[name] for name in made if name not in names} == {
        "assistant_id": assistant_id,
        "thread_id": None,
        "user_id": "",
        "end_time": None,
        "schedule": "0 3 * * *",
        "timezone": None,
        "payload": {
            "assistant_id": assistant_id,
            "schedule": "0 3 * * *",
            "input": {"v": 1},
            "metadata": {"m": 1},
            "zz": 5,
            "config": {"configurable": {"cron_id": made["cron_id"]}},
        },
        "metadata": {"m": 1},
        "on_run_completed": "delete",
        "enabled": True,
        "last_run": None,  # this and the next are additions to the reference's
        "failures": 0,
    }
    assert await server.json("GET", f"/runs/crons/{made['cron_id'].upper()}") == made


async def test_a_cron_on_a_thread_names_it_and_keeps_no_word_on_what_becomes_of_threads(server):
    thread_id = await server.thread()
    made = await create(
        server, thread_id, on_run_completed="keep", multitask_strategy="reject", if_not_exists="create"
    )
    assert (made["thread_id"], made["on_run_completed"]) == (thread_id, None)
    assert made["payload"]["multitask_strategy"] == "reject"
    await server.json("DELETE", f"/threads/{thread_id}", status=204)
    assert await server.json("GET", f"/runs/crons/{made['cron_id']}", status=404) == {"detail": "Not Found"}


async def test_options_are_shown_as_the_client_gave_them(server):
    options = {
        "timezone": "Europe/Berlin",
        "end_time": "2090-01-01T00:00:00+02:00",
        "enabled": False,
        "on_run_completed": "keep",
        "config": {"tags": ["t"], "configurable": {"foo": 1}},
        "stream_mode": ["updates", "custom"],
        "durability": "sync",
        "interrupt_before": "*",
        "interrupt_after": ["a"],
        "stream_subgraphs": True,
        "stream_resumable": True,
        "input": [{"a": 1}, {"b": 2}],
    }
    made = await create(server, **options)
    assert made["end_time"] == "2089-12-31T22:00:00+00:00"
    assert (made["timezone"], made["enabled"], made["on_run_completed"]) == ("Europe/Berlin", False, "keep")
    options["config"]["configurable"]["cron_id"] = made["cron_id"]
    assert {name: made["payload"][name] for name in options} == options


async def test_a_naive_end_time_is_utc_and_nulls_are_as_good_as_absent(server):
    made = await create(server, end_time="2090-01-01T00:00:00", metadata=None, timezone=None, config=None)
    assert made["end_time"] == "2090-01-01T00:00:00+00:00"
    assert made["metadata"] == {}


HINT = (
    "Reason: Invalid cron schedule. Ensure the schedule uses the standard cron format (minute hour day_of_month month "
    "day_of_week). Example: '*/5 * * * *' for every 5 minutes."
)
REFUSED = [
    ({"schedule": "bad"}, 422, f"Invalid cron schedule: 'bad'. {HINT}"),
    ({"schedule": ""}, 422, f"Invalid cron schedule: ''. {HINT}"),
    ({"schedule": 5}, 422, wrong('5 is not of type "string"', "type", "schedule", "5")),
    ({"schedule": "0 0 31 2 *"}, 400, "failed to find next date"),
    (
        {"timezone": "Nope/Zone"},
        422,
        "Invalid timezone: 'Nope/Zone'. Use IANA timezone format (e.g. 'America/New_York').",
    ),
    ({"timezone": ""}, 422, "Invalid timezone: ''. Use IANA timezone format (e.g. 'America/New_York')."),
    ({"timezone": 5}, 422, wrong('5 is not of type "string"', "type", "timezone", "5")),
    (
        {"end_time": "garbage"},
        422,
        wrong('"garbage" is not a "date-time"', "format", "end_time", '"garbage"'),
    ),
    (
        {"end_time": "9999-12-31T23:59:59-10:00"},
        422,
        wrong(
            '"9999-12-31T23:59:59-10:00" is not a "date-time"',
            "format",
            "end_time",
            '"9999-12-31T23:59:59-10:00"',
        ),
    ),
    ({"end_time": 5}, 422, wrong('5 is not of type "string"', "type", "end_time", "5")),
    ({"enabled": "x"}, 422, wrong('"x" is not of type "boolean"', "type", "enabled", '"x"')),
    (
        {"on_run_completed": "x"},
        422,
        wrong('"x" is not one of "delete" or "keep"', "enum", "on_run_completed", '"x"'),
    ),
    (
        {"multitask_strategy": "x"},
        422,
        wrong(
            '"x" is not one of "reject", "rollback", "interrupt" or "enqueue"',
            "enum",
            "multitask_strategy",
            '"x"',
        ),
    ),
    (
        {"input": 5},
        422,
        wrong("5 is not valid under any of the schemas listed in the 'anyOf' keyword", "anyOf", "input", "5"),
    ),
    ({"metadata": []}, 422, wrong('[] is not of type "object"', "type", "metadata", "[]")),
    (
        {"stream_mode": "bogus"},
        422,
        (
            "\"bogus\" is not valid under any of the schemas listed in the 'anyOf' keyword: it may be "
            '"checkpoints", "custom", "debug", "events", "messages", "messages-tuple", "tasks", "tools", "updates" '
            'or "values", or a list of these\n\n'
            'Failed validating "anyOf" in schema["properties"]["stream_mode"]\n\n'
            'On instance["stream_mode"]:\n    "bogus"'
        ),
    ),
    ({"webhook": "http://169.254.0.1/"}, 422, "Webhook host blocked: blocked IP range"),
    ({"command": {"resume": 1}}, 422, "`command` is not supported yet"),
    ({"checkpoint_id": UNKNOWN}, 422, "`checkpoint_id` is not supported yet"),
    ({"after_seconds": 5}, 422, "`after_seconds` is not supported yet"),
    (
        {"config": {"configurable": {"a": 1}}, "context": {"b": 1}},
        400,
        (
            "Cannot specify both configurable and context. Prefer setting context alone. Context was introduced in "
            "LangGraph 0.6.0 and is the long term planned replacement for configurable."
        ),
    ),
]


async def test_a_wrong_field_is_named_at_the_creation_and_at_a_change_which_then_changes_nothing(
    server, subtests
):
    made = await create(server)
    path = f"/runs/crons/{made['cron_id']}"
    for change, status, detail in REFUSED:
        with subtests.test(change=change):
            refused = await server.json("POST", "/runs/crons", DAILY | change, status=status)
            assert refused == {"detail": detail}
            assert await server.json("PATCH", path, change, status=status) == {"detail": detail}
    assert await server.json("POST", "/runs/crons/search", {}) == [made]


REFUSALS = [
    ("POST", "/runs/crons", {"assistant_id": "chat"}, 422, '"schedule" is a required property'),
    ("POST", "/runs/crons", {"schedule": "* * * * *"}, 422, '"assistant_id" is a required property'),
    ("POST", "/runs/crons", None, 422, "Invalid JSON in request body"),
    ("POST", "/runs/crons", DAILY | {"assistant_id": "nope"}, 404, "Assistant 'nope' not found"),
    ("POST", "/runs/crons", DAILY | {"assistant_id": UNKNOWN}, 404, f"Assistant '{UNKNOWN}' not found"),
    ("POST", "/runs/crons", DAILY | {"end_time": "2000-01-01"}, 422, "Invalid end_time: '2000-01-01'. "),
    (
        "POST",
        f"/threads/{UNKNOWN}/runs/crons",
        DAILY,
        404,
        f"Thread with ID '{UNKNOWN}' not found. Please verify the ID is correct and the thread",
    ),
    ("POST", "/threads/zz/runs/crons", DAILY, 422, "Invalid thread ID: must be a UUID"),
    ("GET", f"/runs/crons/{UNKNOWN}", None, 404, "Not Found"),
    ("GET", "/runs/crons/zz", None, 422, "Invalid cron ID: must be a UUID"),
    ("PATCH", f"/runs/crons/{UNKNOWN}", {"enabled": False}, 404, f"Cron '{UNKNOWN}' not found"),
    ("PATCH", f"/runs/crons/{UNKNOWN}", {}, 400, "Request body cannot be empty"),
    ("PATCH", "/runs/crons/zz", {"enabled": False}, 422, "Invalid cron ID: must be a UUID"),
    ("DELETE", f"/runs/crons/{UNKNOWN}", None, 404, "Not Found"),
    ("DELETE", "/runs/crons/zz", None, 422, "Invalid cron ID: must be a UUID"),
    ("POST", "/runs/crons/search", {"assistant_id": "nope"}, 422, "Invalid assistant ID: must be a UUID"),
    ("POST", "/runs/crons/count", {"assistant_id": "nope"}, 422, "Invalid assistant ID: must be a UUID"),
    ("POST", "/runs/crons/search", {"thread_id": "zz"}, 422, "Invalid thread ID: must be a UUID"),
    ("POST", "/runs/crons/search", {"limit": 0}, 422, "0 is less than the minimum of 1"),
    (
        "POST",
        "/runs/crons/search",
        {"select": ["now"]},
        422,
        '"now" is not one of "cron_id", "assistant_id", "thread_id", "on_run_completed", "end_time", ',
    ),
    (
        "POST",
        "/runs/crons/search",
        {"sort_by": "zz"},
        422,
        '"zz" is not one of "cron_id", "assistant_id", "thread_id", "next_run_date", "end_time", ',
    ),
    ("POST", "/runs/crons/search", {"enabled": 1}, 422, '1 is not of type "boolean"'),
]


async def test_what_can_not_be_done_is_said_in_the_references_words(server, subtests):
    for method, path, body, status, detail in REFUSALS:
        with subtests.test(method=method, path=path, body=body):
            refused = await server.json(method, path, body, status=status)
            assert refused["detail"].startswith(detail)
    assert await server.json("POST", "/runs/crons/count", {}) == 0


async def test_a_change_shows_at_the_top_and_in_the_payload(server):
    made = await create(server, metadata={"a": 1, "b": {"x": 1}}, config={"configurable": {"foo": 1}})
    path = f"/runs/crons/{made['cron_id']}"
    change = {
        "assistant_id": "other",
        "schedule": "*/5 * * * *",
        "timezone": "Asia/Tokyo",
        "end_time": "2090-01-01T00:00:00Z",
        "metadata": {"b": {"y": 1}},
        "config": {"tags": ["t"]},
        "on_run_completed": "keep",
        "enabled": False,
        "zz": 1,
    }
    changed = await server.json("PATCH", path, change)
    assert changed == await server.json("GET", path)
    assert changed["assistant_id"] == changed["payload"]["assistant_id"] == made["assistant_id"]
    assert (changed["schedule"], changed["timezone"]) == ("*/5 * * * *", "Asia/Tokyo")
    assert changed["end_time"] == "2090-01-01T00:00:00+00:00"
    assert changed["metadata"] == changed["payload"]["metadata"] == {"a": 1, "b": {"y": 1}}
    assert changed["payload"]["config"] == {"tags": ["t"], "configurable": {"cron_id": made["cron_id"]}}
    assert (changed["on_run_completed"], changed["enabled"]) == ("keep", False)
    assert changed["payload"]["zz"] == 1
    assert changed["next_run_date"] != made["next_run_date"]
    assert (changed["created_at"], changed["updated_at"] > made["updated_at"]) == (made["created_at"], True)
    cleared = await server.json("PATCH", path, {"end_time": None})
    assert (cleared["end_time"], cleared["payload"]["end_time"]) == (None, None)


async def test_a_null_in_a_change_is_as_good_as_the_absence_of_its_field(server):
    made = await create(server, input={"v": 1}, metadata={"a": 1}, timezone="Asia/Tokyo")
    nulls = {"input": None, "metadata": None, "timezone": None, "schedule": None, "enabled": None}
    changed = await server.json("PATCH", f"/runs/crons/{made['cron_id']}", nulls)
    assert changed | {"updated_at": made["updated_at"]} == made


async def test_a_deleted_cron_is_gone(server):
    path = f"/runs/crons/{(await create(server))['cron_id']}"
    assert await server.json("DELETE", path, status=204) is None
    await server.json("GET", path, status=404)
    await server.json("DELETE", path, status=404)


async def test_a_search_filters_sorts_selects_and_pages(server):
    thread_id = await server.thread()
    first = await create(server, metadata={"n": 1, "deep": {"x": 1, "y": 2}})
    second = await create(server, thread_id, enabled=False, schedule="@yearly")
    third = await create(server, assistant_id="other")

    async def found(**body):
        rows = await server.json("POST", "/runs/crons/search", body)
        return [row["cron_id"] for row in rows]

    everything = [third["cron_id"], second["cron_id"], first["cron_id"]]
    assert await server.json("POST", "/runs/crons/search", {}) == [third, second, first]
    assert await found(sort_by="created_at", sort_order="asc") == everything[::-1]
    assert (await found(sort_by="next_run_date"))[0] == second["cron_id"]
    assert await found(thread_id=thread_id) == [second["cron_id"]]
    assert await found(assistant_id=third["assistant_id"]) == [third["cron_id"]]
    assert await found(assistant_id="other") == [third["cron_id"]]
    assert await found(enabled=False) == [second["cron_id"]]
    assert await found(metadata={"deep": {"y": 2}}) == [first["cron_id"]]
    selected = await server.json("POST", "/runs/crons/search", {"limit": 1, "select": ["cron_id", "enabled"]})
    assert selected == [{"cron_id": third["cron_id"], "enabled": True}]
    async with server.client.post("/runs/crons/search", json={"limit": 2}) as answer:
        assert (answer.headers["x-pagination-total"], answer.headers["x-pagination-next"]) == ("3", "2")
    async with server.client.post("/runs/crons/search", json={"offset": 9}) as answer:
        assert answer.headers["x-pagination-total"] == "9"
        assert "x-pagination-next" not in answer.headers
    for body, count in (
        ({}, 3),
        ({"metadata": {"n": 1}}, 1),
        ({"thread_id": thread_id}, 1),
        ({"enabled": True}, 2),
    ):
        assert await server.json("POST", "/runs/crons/count", body) == count


async def test_the_server_says_that_it_has_crons(server):
    assert (await server.json("GET", "/info"))["flags"]["crons"] is True


async def test_a_client_that_leaves_while_its_cron_is_stored_has_woken_the_ticker_all_the_same(
    server, monkeypatch
):
    entered, leave = asyncio.Event(), asyncio.Event()
    stored = SqliteStore.cron_create

    async def held(storage, *asked):
        entered.set()
        await leave.wait()
        return await stored(storage, *asked)

    monkeypatch.setattr(SqliteStore, "cron_create", held)
    asking = asyncio.ensure_future(server.client.post("/runs/crons", data=json.dumps(DAILY)))
    await entered.wait()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    leave.set()

    async with asyncio.timeout(10):
        await server.services.crons.changed.wait()
    assert await server.json("POST", "/runs/crons/count", {}) == 1


async def test_the_official_client_creates_changes_finds_counts_and_deletes_and_the_run_has_the_crons_id(
    server,
):
    async with get_client(url=str(server.client.make_url("/"))) as client:
        thread_id = (await client.threads.create())["thread_id"]
        end = datetime(2090, 1, 1, tzinfo=UTC)
        on_thread = await client.crons.create_for_thread(
            thread_id, "chat", schedule="* * * * * *", input={"v": 1}, end_time=end, timezone="Europe/Berlin"
        )
        alone = await client.crons.create(
            "chat", schedule="@hourly", metadata={"k": 1}, on_run_completed="keep"
        )
        assert datetime.fromisoformat(on_thread["end_time"]) == end
        changed = await client.crons.update(alone["cron_id"], enabled=False, end_time=None)
        assert (changed["enabled"], changed["end_time"]) == (False, None)
        found = await client.crons.search(enabled=False, metadata={"k": 1}, select=["cron_id"])
        assert found == [{"cron_id": alone["cron_id"]}]
        assert await client.crons.count(thread_id=thread_id) == 1

        services = server.services
        loop = ticker.Ticker(crons=services.crons, runs=services.runs)
        ticking = asyncio.ensure_future(loop.run())
        run_id = await server.worker.started()
        ticking.cancel()
        await asyncio.gather(ticking, return_exceptions=True)
        run = await client.runs.get(thread_id, run_id)
        configurable = run["kwargs"]["config"]["configurable"]
        assert configurable["cron_id"] == on_thread["cron_id"]
        assert configurable["langgraph_auth_user"] == {
            "identity": "",
            "is_authenticated": True,
            "display_name": "",
        }

        for cron in (on_thread, alone):
            await client.crons.delete(cron["cron_id"])
        assert await client.crons.search() == []
