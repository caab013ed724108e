"""Scenarios: finding and counting threads."""

from __future__ import annotations

from typing import Any

from tests.wire.asked_of_resources import COUNT, UNKNOWN, emptied
from tests.wire.conversation import Conversation
from tests.wire.scenario import scenario

NESTED = {"p": 1, "l": [{"a": 1}, [1, 2]], "o": {"k": {"z": None}}, "s": "str", "a-b": 2, "ключ": 3, "0": 5}


async def furnished(c: Conversation, mine: dict[str, Any]) -> list[str]:
    """Make three threads: one whose run ended, one that has a question, one that failed."""
    made = [await c.thread(metadata={**mine, **NESTED}) for _ in range(3)]
    for thread, body, status in (
        (made[0], COUNT, "idle"),
        (made[1], {"assistant_id": "ask", "input": {"topic": "t"}}, "interrupted"),
        (made[2], {"assistant_id": "failing", "input": {"how": "value", "left": 0}}, "error"),
    ):
        await c.post(f"/threads/{thread}/runs/wait", body, record=False)
        await c.until(f"/threads/{thread}", lambda row, status=status: row["status"] == status)
    return made


@scenario
async def threads_counted(c: Conversation) -> None:
    mine = await emptied(c, "count")
    await furnished(c, mine)
    for body in (
        {"metadata": mine},
        {"metadata": {**mine, "p": 1.0}},
        {"metadata": {**mine, "p": "1"}},
        {"metadata": {**mine, "o": {"k": {}}}},
        {"metadata": {**mine, "l": [{"a": 1}]}},
        {"metadata": mine, "status": "idle"},
        {"metadata": mine, "status": "busy"},
        {"metadata": mine, "values": {"left": 0}},
        {"metadata": mine, "values": {"left": 0}, "status": "error"},
        {"metadata": mine, "values": {"left": "0"}},
        {"metadata": mine, "limit": 0, "unknown": 1, "ids": ["zz"]},
        {"metadata": {**mine, "wire": "nobody"}},
    ):
        await c.post("/threads/count", body)
    for body in ([], "text", None, {"status": "tired"}, {"status": 5}, {"metadata": []}, {"values": 5}):
        await c.post("/threads/count", body)
    for raw in (b"", b"{", b"{} more"):
        await c.ask("POST", "/threads/count", raw=raw)
    await c.ask("DELETE", "/threads/count")


@scenario
async def threads_sorted_and_paged(c: Conversation) -> None:
    mine = await emptied(c, "sort")
    made = await furnished(c, mine)
    shown = {"metadata": mine, "select": ["thread_id", "status"]}
    # thread_id: they were made in the order of their ids, which are of version 7
    for key in ("thread_id", "status", "created_at", "updated_at", "state_updated_at"):
        for order in ("asc", "desc"):
            for page in ({}, {"limit": 2}, {"limit": 2, "offset": 2}):
                await c.post("/threads/search", {**shown, "sort_by": key, "sort_order": order, **page})
    for body in (
        {"limit": 3},
        {"limit": 1000, "offset": 1},
        {"limit": 2.0, "offset": 1.0},
        {"offset": 1000000},
        {"status": "idle", "sort_by": "created_at"},
        {"status": "error", "sort_by": "status", "sort_order": "asc"},
        {"ids": [made[1], made[0], UNKNOWN, made[1]]},
        {"ids": [made[2].replace("-", "")]},
        {"ids": [made[0]], "status": "error"},
        {"ids": [made[0], made[2]], "limit": 1},
        {"values": {"left": 0}, "sort_by": "created_at", "sort_order": "asc"},
        {"values": {"left": 0, "seen": ["tick 2", "tick 1"]}},
        {"values": {"left": 0.0}},
        {"values": {"nothing": None}},
    ):
        await c.post("/threads/search", {**shown, **body})
    for column in (
        "thread_id",
        "created_at",
        "updated_at",
        "state_updated_at",
        "metadata",
        "config",
        "status",
        "values",
        "interrupts",
    ):
        await c.post("/threads/search", {"metadata": mine, "ids": [made[1]], "select": [column]})
    await c.post("/threads/search", {"metadata": mine, "ids": [made[1]], "select": ["status", "status"]})


@scenario
async def threads_searched_wrongly(c: Conversation) -> None:
    for body in (
        {"ids": [5]},
        {"ids": "zz"},
        {"ids": [UNKNOWN, "zz"]},
        {"limit": "10"},
        {"limit": 1.5},
        {"limit": True},
        {"offset": "0"},
        {"offset": -1},
        {"status": "IDLE"},
        {"status": ["idle"]},
        {"sort_by": "values"},
        {"sort_by": 5},
        {"sort_by": "created_at", "sort_order": "ASC"},
        {"sort_order": "up"},
        {"select": "values"},
        {"select": ["context"]},
        {"select": ["extracted"]},
        {"select": [5]},
        {"metadata": "text"},
        {"values": []},
        [],
        None,
    ):
        await c.post("/threads/search", body)


@scenario
async def values_extracted_from_threads(c: Conversation) -> None:
    mine = await emptied(c, "extract")
    made = await furnished(c, mine)
    for thread, extract in (
        *((made[0], {"a": f"metadata{path}"}) for path in (
            ".p", ".l", ".l[0].a", ".l[-1][1]", ".l[5]", ".l[-5]", ".l.0", ".o.k.z", ".s[0]", ".a-b", ".ключ", ".0",
            "..p", "[0]", ".l[*]", ".l[ 0 ]", ".l[0", ".l0]", ".l[]", ".l[x]", ".l[0]more", ".l[01]", ".l[+0]",
            ".l[1_0]", ".o.k.z.y", '["p"]',
        )),
        (made[0], {"seen": "values.seen", "last": "values.seen[-1]", "left": "values.left", "no": "values.no"}),
        (made[0], {"whole": "values", "settings": "config", "inner": "config.configurable"}),
        (made[1], {"asked": "interrupts"}),
        (made[2], {"_x9": "values.how", "class": "metadata.p", "A": "interrupts"}),
        (made[0], {f"a{n}": "values.left" for n in range(10)}),
        (made[0], {}),
    ):  # fmt: skip
        await c.post("/threads/search", {"ids": [thread], "select": ["status"], "extract": extract})
    await c.post("/threads/search", {"metadata": mine, "extract": {"left": "values.left"}})
    for extract in (
        {"config": "config"},
        {"values": "metadata", "bad alias!": "", "status": "nothing", "a": "b"},
        {"error": "metadata.p", "ttl": "metadata.p"},
        {"a": "status"},
        {"a": "metadatax"},
        {"a": " metadata.p"},
        {"a": "$.metadata"},
        {"a": "Metadata"},
        {"a": "error"},
        {"a": ""},
        {"a": " "},
        {"a": 5},
        {"a": None},
        {"": "values"},
        {"1a": "values"},
        {"a-b": "values"},
        {"é": "values"},
        {"bad alias!": "values"},
        {f"a{n}": "values" for n in range(11)},
        [],
        5,
    ):
        await c.post("/threads/search", {"metadata": mine, "extract": extract})
