"""What a server answers about all that it has, in a form that does not depend on when it is asked."""

from __future__ import annotations

import json
import re
from typing import Any

import aiohttp

IN_FLIGHT = {"in": "flight"}
"""Metadata of the thread whose runs were in flight: they end after the restart, at another time each time."""

LATER = (
    "updated_at",
    "state_updated_at",
    "created_at",
    "checkpoint",
    "checkpoint_id",
    "parent_checkpoint",
    "parent_checkpoint_id",
)
"""What differs between two servers that have resumed the same run."""

MADE_LATER = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d+-\d+")
"""Ids of tasks and of events."""


class Asker:
    """Asks one server."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        """`url` is the server's own, which it writes into the metadata of runs."""
        self.session = session
        self.url = url

    async def get(self, path: str) -> Any:
        async with self.session.get(path) as response:
            return [response.status, await response.json()]

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        async with self.session.post(path, json=body) as response:
            return [response.status, await response.json()]

    async def replay(self, path: str) -> list[dict[str, Any]]:
        """Return all events of an ended run, from the first."""
        async with self.session.get(path, headers={"Last-Event-ID": "-1"}) as response:
            text = await response.text()
        events = []
        for block in text.replace("\r\n", "\n").split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
            if fields:
                events.append({**fields, "data": json.loads(fields["data"]) if "data" in fields else None})
        return events

    async def everything(self) -> dict[str, Any]:
        """Return the answers about assistants, crons, threads, runs and items, by the request."""
        found: dict[str, Any] = {}
        (_, threads) = await self.post("/threads/search", {"limit": 100, "sort_by": "created_at"})
        for thread in threads:
            found |= await self._thread(
                thread["thread_id"], in_flight=thread["metadata"].items() >= IN_FLIGHT.items()
            )
        for metadata in ({"owner": "bob"}, {"level": 3}, {"idem": 1}):
            (_, threads) = await self.post("/threads/search", {"metadata": metadata, "select": ["thread_id"]})
            found[f"threads with {metadata}"] = sorted(thread["thread_id"] for thread in threads)
        found["threads"] = await self.post("/threads/count", {})
        (_, assistants) = found["assistants"] = await self.post("/assistants/search", {"limit": 100})
        for assistant in assistants:
            path = f"/assistants/{assistant['assistant_id']}"
            found[f"{path}/versions"] = await self.post(f"{path}/versions", {})
            found[f"{path}/schemas"] = await self.get(f"{path}/schemas")
        found["crons"] = await self.post("/runs/crons/search", {"limit": 100})
        found["items"] = await self.post("/store/items/search", {"namespace_prefix": []})
        return dict(json.loads(json.dumps(found).replace(self.url, "http://server")))

    async def _thread(self, thread_id: str, *, in_flight: bool) -> dict[str, Any]:
        path = f"/threads/{thread_id}"
        found = {path: await self.get(path), f"{path}/state": await self.get(f"{path}/state")}
        history = found[f"{path}/history"] = await self.post(f"{path}/history", {"limit": 100})
        runs = found[f"{path}/runs"] = await self.get(f"{path}/runs")
        for state in [] if in_flight else history[1]:
            of_checkpoint = f"{path}/state/{state['checkpoint']['checkpoint_id']}"
            found[of_checkpoint] = await self.get(of_checkpoint)
        for run in runs[1]:
            of_run = f"{path}/runs/{run['run_id']}"
            found[of_run] = await self.get(of_run)
            if run["status"] != "pending":
                found[f"{of_run}/join"] = await self.get(f"{of_run}/join")
                found[f"{of_run}/stream"] = await self.replay(f"{of_run}/stream")
        return {name: _without_times(answer) for name, answer in found.items()} if in_flight else found


def _without_times(answer: Any) -> Any:
    if isinstance(answer, dict):
        return {
            name: _without_times(value)
            for name, value in answer.items()
            if name not in LATER and not (name == "id" and MADE_LATER.fullmatch(str(value)))
        }
    return [_without_times(value) for value in answer] if isinstance(answer, list) else answer
