"""
The project is loaded in the main thread before any loop runs, and nothing is accepted that a failed load
would lose.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import pytest

from tests.processes import daemon

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

HELD = """
import time
from pathlib import Path

Path("loading").touch()
while not Path("go_on").exists():
    time.sleep(0.01)
"""
GRAPH = """
import asyncio, operator, signal, sqlite3, threading
from typing import Annotated, TypedDict
from langgraph.graph import START, StateGraph

class State(TypedDict, total=False):
    said: Annotated[list, operator.add]

async def load_tools():
    await asyncio.sleep(0)
    return ["tool"]

TOOLS = asyncio.run(load_tools())
IN_MAIN_THREAD = threading.current_thread() is threading.main_thread()
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
DATABASE = sqlite3.connect(":memory:")

async def node(state):
    return {"said": [TOOLS, IN_MAIN_THREAD, DATABASE.execute("SELECT 7").fetchone()[0]]}

graph = StateGraph(State).add_node(node).add_edge(START, "node").compile()
"""


def project(folder: Path, files: Mapping[str, str], **keys: object) -> Path:
    folder.mkdir(parents=True)
    document = {"graphs": {"agent": "./graph.py:graph"}, "dependencies": ["."], **keys}
    (folder / "langgraph.json").write_text(json.dumps(document))
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


async def test_a_module_may_use_what_only_the_main_thread_without_a_loop_offers(tmp_path: Path) -> None:
    async with daemon.Daemon(project(tmp_path / "project", {"graph.py": GRAPH}), tmp_path / "data") as served:
        await served.start()
        async with (
            aiohttp.ClientSession(served.url) as client,
            client.post("/runs/wait", json={"assistant_id": "agent", "input": {}}) as answer,
        ):
            assert (answer.status, await answer.json()) == (200, {"said": [["tool"], True, 7]})


async def test_a_run_that_is_asked_for_while_the_project_loads_starts_when_it_is_loaded(
    tmp_path: Path,
) -> None:
    folder = project(tmp_path / "project", {"graph.py": HELD + GRAPH})
    async with daemon.Daemon(folder, tmp_path / "data") as served:
        await served.start(until="listening")
        await served.until((folder / "loading").exists, "the project is being loaded")
        async with aiohttp.ClientSession(served.url) as client:
            asked = asyncio.ensure_future(
                client.post("/runs/wait", json={"assistant_id": "agent", "input": {}})
            )
            async with client.get("/ok") as answer:
                assert answer.status == 200
            (folder / "go_on").touch()
            async with await asked as answer:
                assert (answer.status, (await answer.json())["said"][0]) == (200, ["tool"])


async def test_a_run_that_is_asked_for_before_a_load_that_fails_is_refused_and_not_stored(
    tmp_path: Path,
) -> None:
    folder = project(tmp_path / "project", {"graph.py": HELD + "raise ValueError('no key')\n"})
    async with daemon.Daemon(folder, tmp_path / "data") as served:
        await served.start(until="listening")
        await served.until((folder / "loading").exists, "the project is being loaded")
        async with aiohttp.ClientSession(served.url) as client:
            thread_id = "11111111-1111-4111-8111-111111111111"
            asked = [
                asyncio.ensure_future(client.post(path, json=body))
                for path, body in (
                    ("/runs", {"assistant_id": "agent", "input": {}}),
                    ("/runs/batch", [{"assistant_id": "agent", "input": {}}]),
                    (f"/threads/{thread_id}/runs", {"assistant_id": "agent", "if_not_exists": "create"}),
                )
            ]
            async with client.get(f"/threads/{thread_id}") as answer:  # the others have been read by then
                assert answer.status == 404
            (folder / "go_on").touch()
            statuses = [
                getattr(each, "status", 503) for each in await asyncio.gather(*asked, return_exceptions=True)
            ]
            assert statuses == [503, 503, 503]
        assert await served.wait() == 78
        (folder / "graph.py").write_text(GRAPH)
        await served.start()
        async with (
            aiohttp.ClientSession(served.url) as client,
            client.post("/threads/search", json={}) as answer,
        ):
            assert await answer.json() == []


async def test_what_is_missing_is_told_with_its_file_a_traceback_and_what_to_install(tmp_path: Path) -> None:
    files = {
        "graph.py": "import lib.deeper\n",
        "lib/__init__.py": "",
        "lib/deeper.py": "import os\n\nimport helpers\n",
        "helpers_project/pyproject.toml": "[project]\nname = 'helpers'\n",
    }
    folder = project(tmp_path / "project", files, dependencies=[".", "./helpers_project"])
    async with daemon.Daemon(folder, tmp_path / "data") as served:
        await served.start(until="started")
        assert await served.wait() == 78
        *trace, last = served.log().splitlines()
        assert last == (
            "gatewayd: graph 'agent' (./graph.py:graph): ModuleNotFoundError: No module named 'helpers' "
            "(lib/deeper.py:3) (hint: pip install -e ./helpers_project)"
        )
        frames = [line.strip() for line in trace if line.strip().startswith("File ")]
        assert frames[0].startswith(f'File "{folder}/graph.py", line 1')
        assert frames[-1].startswith(f'File "{folder}/lib/deeper.py", line 3')
        assert not [frame for frame in frames if "gatewayd" in frame or "importlib" in frame]
