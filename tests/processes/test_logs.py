"""
What an operator reads: user code's prints and records with the ids of run and request, and a line per
request.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.processes import daemon, test_first_load

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

GRAPH = """
import logging, os, sys, threading
from typing import TypedDict
from langgraph.graph import START, StateGraph

print("at import")

class State(TypedDict, total=False):
    die: bool

async def speak(state):
    print("from a coroutine", 1)
    print("to stderr", file=sys.stderr)
    logging.getLogger("my_agent").debug("called", extra={"tool": "search"})
    print("no newline", end="")

def in_thread(state):
    print("from a thread")
    if state.get("die"):
        print("the last words", flush=True, end="")
        os._exit(3)

builder = StateGraph(State).add_node(speak).add_node(in_thread).add_edge(START, "speak").add_edge("speak", "in_thread")
graph = builder.compile()
"""


def records(served: daemon.Daemon) -> list[dict[str, Any]]:
    return [json.loads(line) for line in served.log().splitlines() if line.startswith("{")]


def of(served: daemon.Daemon, *loggers: str) -> list[dict[str, Any]]:
    return [record for record in records(served) if record["logger"] in loggers]


@pytest.fixture
def settings() -> dict[str, str]:
    return {"GATEWAYD_LOG_JSON": "true", "GATEWAYD_LOG_LEVELS": "my_agent=DEBUG", "GATEWAYD_MAX_RETRIES": "1"}


async def test_prints_and_records_of_user_code_carry_the_ids_of_run_and_request(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    project = test_first_load.project(tmp_path / "project", {"graph.py": GRAPH})
    async with daemon.Daemon(project, tmp_path / "data", settings) as served:
        await served.start()
        async with (
            aiohttp.ClientSession(served.url, headers={"x-request-id": "mine"}) as client,
            client.post("/runs/wait?secret=1", json={"assistant_id": "agent", "input": {}}) as answer,
        ):
            assert answer.status == 200
            await answer.read()
            run_id = answer.headers["content-location"].rpartition("/")[2]
        await served.until(lambda: of(served, "gatewayd.access"), "the line of the request")
        assert "at import" in {record["event"] for record in of(served, "gatewayd.stdout")}
        mine = [
            record
            for record in of(served, "gatewayd.stdout", "gatewayd.stderr", "my_agent")
            if "run_id" in record
        ]
        assert {(record["logger"], record["level"], record["event"]) for record in mine} == {
            ("gatewayd.stdout", "info", "from a coroutine 1"),
            ("gatewayd.stderr", "warning", "to stderr"),
            ("my_agent", "debug", "called"),
            ("gatewayd.stdout", "info", "no newline"),
            ("gatewayd.stdout", "info", "from a thread"),
        }
        assert {(record["run_id"], record["request_id"]) for record in mine} == {(run_id, "mine")}
        assert [record["tool"] for record in mine if record["logger"] == "my_agent"] == ["search"]
        (line,) = of(served, "gatewayd.access")
        assert (line["event"], line["route"]) == ("POST /runs/wait 200", "/runs/wait")
        assert (line["client"], line["request_id"]) == ("127.0.0.1", "mine")
        assert line["ms"] > 0
        assert "secret" not in served.log()


async def test_what_a_process_printed_before_it_died_is_not_lost(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    project = test_first_load.project(tmp_path / "project", {"graph.py": GRAPH})
    async with daemon.Daemon(project, tmp_path / "data", settings) as served:
        await served.start()
        async with (
            aiohttp.ClientSession(served.url) as client,
            client.post("/runs/wait", json={"assistant_id": "agent", "input": {"die": True}}) as answer,
        ):
            await answer.read()
        said = {record["event"] for record in of(served, "gatewayd.stdout")}
        assert said >= {"from a coroutine 1", "from a thread", "the last words"}
