"""A thread that a run makes is found by the run's metadata, however the run was asked for."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from langgraph.pregel.remote import RemoteGraph
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

pytestmark = pytest.mark.xdist_group("clients")

COUNT: dict[str, Any] = {"left": 1, "seen": []}


@pytest.fixture
async def client(served: str) -> AsyncIterator[LangGraphClient]:
    async with get_client(url=served) as made:
        yield made


@pytest.fixture
def mark() -> dict[str, str]:
    """Metadata that nobody else has."""
    return {"chat": uuid.uuid4().hex}


async def found(client: LangGraphClient, mark: dict[str, str]) -> list[str]:
    return [thread["thread_id"] for thread in await client.threads.search(metadata=mark)]


async def test_a_thread_made_by_if_not_exists_has_it(client: LangGraphClient, mark: dict[str, str]) -> None:
    thread_id = str(uuid.uuid4())
    config: Any = {"metadata": {**mark, "both": "config"}}
    metadata = {"both": "run"}
    await client.runs.wait(
        thread_id, "countdown", input=COUNT, config=config, metadata=metadata, if_not_exists="create"
    )
    assert await found(client, {**mark, "both": "run"}) == [thread_id]


async def test_a_thread_made_by_the_start_of_a_run_of_v2_has_it(
    client: LangGraphClient, mark: dict[str, str]
) -> None:
    async with client.threads.stream(assistant_id="countdown") as thread:
        await thread.run.start(input=COUNT, metadata=mark)
        await thread.output
        assert await found(client, mark) == [thread.thread_id]


async def test_a_thread_made_for_a_remote_graph_has_it(client: LangGraphClient, mark: dict[str, str]) -> None:
    thread_id = str(uuid.uuid4())
    graph = RemoteGraph("countdown", client=client)
    await client.threads.create(thread_id=thread_id, if_exists="do_nothing")
    await graph.ainvoke(COUNT, {"configurable": {"thread_id": thread_id}, "metadata": mark})
    assert [run["metadata"]["chat"] for run in await client.runs.list(thread_id)] == [mark["chat"]]


async def test_a_thread_made_for_a_stateless_run_that_is_kept_has_it(
    client: LangGraphClient, mark: dict[str, str]
) -> None:
    await client.runs.wait(None, "countdown", input=COUNT, metadata=mark, on_completion="keep")
    assert len(await found(client, mark)) == 1


async def test_a_thread_made_for_a_cron_has_it(client: LangGraphClient, mark: dict[str, str]) -> None:
    cron: Any = await client.crons.create(
        "countdown", schedule="* * * * * *", input=COUNT, metadata=mark, on_run_completed="keep"
    )
    try:
        async with asyncio.timeout(60):
            while not await found(client, mark):  # noqa: ASYNC110 - only the clock makes it
                await asyncio.sleep(0.05)
    finally:
        await client.crons.delete(cron["cron_id"])
