"""
Workers that are replaced while a daemon serves: by a reload, after a number of runs, and for what they do.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import shutil
import signal
import sys
import termios
from collections import defaultdict
from pathlib import Path

import aiohttp
import pytest

from tests.processes import conftest, daemon, story

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

FRESH = """

async def tell(state: State) -> State:
    return {"done": [os.environ["GREETING"]]}


_fresh = StateGraph(State)
_fresh.add_node("tell", tell)
_fresh.add_edge(START, "tell")
fresh = _fresh.compile()
"""


async def ask_for_reload(served: daemon.Daemon) -> tuple[int, str, str]:
    """Run ``gatewayd reload``; return its exit code and what it printed on both streams."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gatewayd", "reload", "--data-dir", str(served.data_dir)),
        env=daemon.environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode().strip(), err.decode().strip()


async def test_a_reload_loads_code_and_configuration_anew_without_cutting_anything(
    serve: conftest.Serve, tell: conftest.Tell, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    shutil.copytree(conftest.PROJECT, project, ignore=shutil.ignore_patterns("__pycache__"))
    served = await serve(project)
    told = tell(served)
    brake = tmp_path / "brake"
    brake.touch()
    running = await told.begin("steps", steps=4, how=str(brake))
    stream = asyncio.create_task(told.follow(running))
    await told.witnessed(running, "step2 end")
    before = set(served.workers())

    with (project / "bad.py").open("a") as code:
        code.write(FRESH)
    document = json.loads((project / "langgraph.json").read_text())
    document["graphs"]["fresh"] = "./bad.py:fresh"
    document["env"] = {"GREETING": "hello", "GATEWAYD_HEARTBEAT_S": "1"}
    (project / "langgraph.json").write_text(json.dumps(document))
    assert await ask_for_reload(served) == (
        0,
        f"reloaded: {len(document['graphs'])} graphs of {project / 'langgraph.json'}",
        "",
    )
    assert "heartbeat_s has changed; that takes effect at the next start" in served.log()
    fresh = await told.begin("fresh")
    assert (await told.ended(fresh))["status"] == "success"
    assert (await told.values(fresh))["done"] == ["hello"]

    await served.until(lambda: told.marks(running)[-1].pid not in before, "it goes on elsewhere")
    brake.unlink()
    await stream
    assert (await told.ended(running))["status"] == "success"
    done = (await told.values(running))["done"]
    assert done == [f"step{number}" for number in range(len(done))]
    assert all(told.count(running, f"{name} start") == 1 for name in done)
    assert story.attempts(told.events[running.run_id]) == [1, 2]
    await served.until(lambda: not before & set(served.workers()), "the old workers have ended")
    assert len(served.workers()) == 2

    with (project / "bad.py").open("a") as code:
        code.write("\n1 / 0\n")
    working = set(served.workers())
    served.signal(signal.SIGHUP)  # as `systemctl reload` does
    await served.logged("the reload failed: .*ZeroDivisionError")
    code, _, error = await ask_for_reload(served)
    assert code == 1
    assert error.startswith("gatewayd: not reloaded: ")
    assert "ZeroDivisionError" in error
    async with aiohttp.ClientSession() as session, session.get(served.url + "/ok?check_db=1") as answer:
        assert "ZeroDivisionError" in (await answer.json())["trouble"]
    again = await told.begin("fresh")
    assert (await told.ended(again))["status"] == "success"
    assert set(served.workers()) == working

    assert await served.stop() == 0
    assert (await ask_for_reload(served))[
        2
    ] == f"gatewayd: not reloaded: no gatewayd serves {served.data_dir}"


async def test_runs_that_take_too_much_memory_or_crash_are_put_aside_and_say_why_while_others_go_on(
    serve: conftest.Serve, tell: conftest.Tell
) -> None:
    limit = 400 << 20
    told = tell(await serve(workers=1, max_retries=2, worker_memory=limit))
    async with told.awake(1.5):
        neighbours = [await told.begin("steps", steps=40) for _ in range(2)]
        hog = await told.begin("hog", size=limit)
        crashing = await told.begin("segfault", seconds=1)
        for each in neighbours:
            assert (await told.ended(each))["status"] == "success"
        for each, cause in ((hog, "memory limit: it used "), (crashing, "signal 11, SIGSEGV")):
            assert (await told.ended(each))["status"] == "error"
            last = (await told.follow(each))[-1]
            assert (last.event, last.data["error"]) == ("error", "WorkerDied")
            assert cause in last.data["message"]
    log = told.served.log()
    assert f"MiB of memory (limit {limit >> 20} MiB) and is killed" in log
    company = {mark.pid for each in neighbours for mark in told.marks(each)}
    for each in (hog, crashing):
        assert told.marks(each)[-1].pid not in company, "a suspect shared its process"
        assert not told.twice_at_once(each)
    for each in neighbours:
        assert (await told.values(each))["done"] == [f"step{number}" for number in range(40)]


async def test_workers_share_the_runs_and_are_recycled_while_each_thread_keeps_its_order(
    serve: conftest.Serve, tell: conftest.Tell
) -> None:
    told = tell(await serve(workers=4, worker_max_runs=8))
    threads = [await told.thread() for _ in range(8)]
    runs: defaultdict[str, list[story.Stood]] = defaultdict(list)
    for _ in range(5):
        for thread in threads:
            runs[thread].append(await told.begin("steps", thread, steps=2))
    for thread in threads:
        for each in runs[thread]:
            assert (await told.ended(each))["status"] == "success"
    order = [mark.key for mark in told.marks()]
    for thread in threads:
        expected = [each.run_id for each in runs[thread]]
        assert [key for key in dict.fromkeys(order) if key in expected] == expected
        assert not any(told.twice_at_once(each) for each in runs[thread])
    pids = {mark.pid for mark in told.marks()}
    assert len(pids) > 4, "no worker was replaced"
    assert told.served.log().count("is retired: it was given 8 runs") >= 4


async def test_a_daemon_whose_terminal_hangs_up_stops(tmp_path: Path) -> None:
    def in_its_terminal() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also where the tests themselves run under nohup
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    async with daemon.Daemon(conftest.PROJECT, tmp_path / "data") as served:
        outer, inner = pty.openpty()
        await served.spawn(stdin=inner, start_new_session=True, preexec_fn=in_its_terminal)
        os.close(inner)
        await served.until((served.data_dir / "reload.json").exists, "it expects the signal")
        os.close(outer)
        assert await served.wait(timeout_s=30) == 0
        assert "the project is loaded again" not in served.log()
