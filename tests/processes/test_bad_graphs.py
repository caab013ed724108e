"""A graph that blocks, sleeps, kills its process or never stops hurts itself only."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import errors

from tests.processes import conftest, daemon, story

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

BLOCK_S = 4.0
"""Long enough to be noticed (2 s) with room for a noisy machine."""
AWAKE_S = 1.5
"""No answer may take longer while something is wrong elsewhere; in fact they take milliseconds."""


async def a_thread_with_a_state(told: Any) -> str:
    quiet = await told.begin("steps", steps=1)
    assert (await told.ended(quiet))["status"] == "success"
    return f"/threads/{quiet.thread_id}/state"


async def test_a_blocked_loop_stalls_neither_the_api_nor_other_workers_and_is_named_in_the_log(
    serve: conftest.Serve, tell: conftest.Tell
) -> None:
    told = tell(await serve(workers=2))
    state = await a_thread_with_a_state(told)
    async with told.awake(AWAKE_S, state):
        runs = [await told.begin("steps", steps=25) for _ in range(4)]
        for each in runs:
            await told.witnessed(each, "step0 start")
        blocker = await told.begin("blocker", seconds=BLOCK_S)
        await told.witnessed(blocker, "block start")
        blocked = told.marks(blocker)[-1].pid
        neighbours = [each for each in runs if told.marks(each)[-1].pid != blocked]
        assert len(neighbours) == 2, "the runs were not shared out"
        await asyncio.gather(*(told.follow(each) for each in neighbours))
        assert told.count(blocker, "block end") == 0, "the neighbours have waited for the block"
        for each in neighbours:
            assert (await told.run(each))["status"] == "success"
        place = await told.served.logged(r"blocked at (\S+):(\d+) in block")
    lines = (conftest.PROJECT / "bad.py").read_text().splitlines()
    assert place[1] == str(conftest.PROJECT / "bad.py")
    assert "the culprit" in lines[int(place[2]) - 1]
    assert (await told.ended(blocker))["status"] == "success"
    await told.served.logged("turns again after")
    assert told.count(blocker, "block start") == 1


async def test_runs_that_share_the_blocked_worker_go_on_when_it_turns_again(
    serve: conftest.Serve, tell: conftest.Tell
) -> None:
    told = tell(await serve(workers=1))
    neighbour = await told.begin("steps", steps=60)
    await told.witnessed(neighbour, "step2 end")
    blocker = await told.begin("blocker", seconds=BLOCK_S)
    assert (await told.ended(blocker))["status"] == "success"
    assert (await told.ended(neighbour))["status"] == "success"
    values = await told.values(neighbour)
    assert values["done"] == [f"step{number}" for number in range(60)]
    assert all(told.count(neighbour, f"step{number} start") == 1 for number in range(60))


async def test_a_run_created_while_a_worker_is_blocked_goes_to_another(
    serve: conftest.Serve, tell: conftest.Tell
) -> None:
    told = tell(await serve(workers=2, jobs_per_worker=4))
    busy = [await told.begin("steps", steps=100) for _ in range(2)]
    blocker = await told.begin("blocker", seconds=BLOCK_S)
    await told.served.logged("blocked at")
    late = [await told.begin("steps", steps=2) for _ in range(4)]
    blocked_pid = next(mark.pid for mark in told.marks(blocker))
    for each in late[:2]:
        assert (await told.ended(each))["status"] == "success"
    assert told.count(blocker, "block end") == 0
    assert blocked_pid not in {mark.pid for each in late[:2] for mark in told.marks(each)}
    for each in [*late, *busy, blocker]:
        assert (await told.ended(each))["status"] == "success"


async def test_a_synchronous_node_that_sleeps_delays_nobody_in_its_worker(
    serve: conftest.Serve, tell: conftest.Tell
) -> None:
    told = tell(await serve(workers=1))
    state = await a_thread_with_a_state(told)
    async with told.awake(AWAKE_S, state):
        sleeper = await told.begin("sleeper", seconds=BLOCK_S)
        await told.witnessed(sleeper, "sleep start")
        neighbours = [await told.begin("steps", steps=10) for _ in range(3)]
        await asyncio.gather(*(told.follow(each) for each in neighbours))
        assert told.count(sleeper, "sleep end") == 0
    assert (await told.ended(sleeper))["status"] == "success"
    assert told.count(sleeper, "sleep start") == 1
    assert "blocked at" not in told.served.log()


async def test_a_run_that_kills_its_process_is_put_aside_and_its_neighbours_succeed(
    serve: conftest.Serve, tell: conftest.Tell
) -> None:
    told = tell(await serve(workers=1, max_retries=3))
    state = await a_thread_with_a_state(told)
    async with told.awake(AWAKE_S, state):
        neighbours = [await told.begin("steps", steps=60) for _ in range(3)]
        killer = await told.begin("killer", seconds=0.3)
        streams = [asyncio.create_task(told.follow(each, ("updates",))) for each in (*neighbours, killer)]
        guilty = await told.ended(killer)
        assert guilty["status"] == "error"
        for each in neighbours:
            assert (await told.ended(each))["status"] == "success"
            assert (await told.values(each))["done"] == [f"step{number}" for number in range(60)]
        await asyncio.gather(*streams)

    log = told.served.log()
    assert "(exit code 1)" in log, "the cause is in the log"
    assert f"run {killer.run_id} is put aside" in log
    last = told.events[killer.run_id][-1]
    assert (last.event, last.data["error"]) == ("error", "WorkerDied")
    thread = await told.client.threads.get(killer.thread_id)
    assert thread["status"] == "error"

    # once with progress (`before`), then three strikes; the last two alone
    deaths = [mark for mark in told.marks(killer) if mark.what == "die start"]
    assert len(deaths) == 4
    assert len({mark.pid for mark in deaths}) == 4
    assert told.count(killer, "before start") == 1
    assert story.attempts(told.events[killer.run_id]) == [1, 2, 3, 4]
    company = {mark.pid for each in neighbours for mark in told.marks(each)}
    assert not company & {mark.pid for mark in deaths[2:]}, "a suspect shared its process"
    for each in neighbours:
        assert story.attempts(told.events[each.run_id]) == [1, 2, 3], "neighbours die only with the first two"
        assert not told.twice_at_once(each)
        assert len(told.repeated(each, steps=60, deaths=2)) < 60, "nobody begins anew"
        updates = [
            part.data["step"]["done"][0] for part in told.events[each.run_id] if part.event == "updates"
        ]
        assert list(dict.fromkeys(updates)) == [f"step{number}" for number in range(60)]
    assert not told.twice_at_once(killer)


@pytest.mark.storm
async def test_a_run_that_kills_the_daemon_is_tried_alone_and_put_aside_and_others_go_on(
    serve: conftest.Serve, tell: conftest.Tell, tmp_path: Path
) -> None:
    told = tell(await serve(workers=1))
    neighbour = await told.begin("steps", steps=3000, how=str(told.witness))
    await told.witnessed(neighbour, "step0 end")
    ready = tmp_path / "ready"
    killer = await told.begin("patricide", how=str(ready))
    async with asyncio.timeout(60):  # until its first step is stored: it has made progress then
        while (await told.client.threads.get_state(killer.thread_id))["next"] != ["strike"]:  # noqa: ASYNC110  nothing tells it
            await asyncio.sleep(0.05)
    ready.touch()
    deaths = 0
    while "the run was put aside" not in told.served.log():
        await told.served.wait()
        deaths += 1
        assert deaths < 12
        with contextlib.suppress(daemon.Ended):  # it has died again meanwhile
            await told.served.start()
    # A death that comes before the first event of the attempt is stored does not count, and is rare.
    assert deaths >= 5, "once with progress, three times with others, once alone"
    ended = await told.ended(killer)
    assert ended["status"] == "error"
    (error,) = [part for part in await told.follow(killer) if part.event == "error"]
    assert error.data["error"] == "DaemonDied"
    assert "died 4 times while it executed the run" in error.data["message"]
    assert told.count(killer, "strike start") == deaths
    assert not told.twice_at_once(killer)
    *_, before, last = told.marks(killer)
    assert not [
        mark for mark in told.marks(neighbour) if before.at < mark.at < last.at and mark.pid != before.pid
    ]
    steps = len(told.marks(neighbour))
    await told.served.until(lambda: len(told.marks(neighbour)) > steps, "the neighbour goes on")
    assert (await told.run(neighbour))["status"] == "running"
    assert not told.twice_at_once(neighbour)


async def test_nobody_waits_for_suspects_and_they_wait_for_each_other(
    serve: conftest.Serve, tell: conftest.Tell
) -> None:
    told = tell(await serve(workers=1, max_retries=2))
    killers = [await told.begin("killer", seconds=2) for _ in range(4)]
    await told.served.logged("runs alone", timeout_s=120)
    bystander = await told.begin("steps", steps=3)
    assert (await told.ended(bystander))["status"] == "success"
    assert [(await told.run(each))["status"] for each in killers].count("error") < 2, (
        "it has waited for suspects"
    )
    for each in killers:
        assert (await told.ended(each, timeout_s=120))["status"] == "error"
        assert told.count(each, "die start") == 3, "once with progress, one strike in company, one alone"
        assert not told.twice_at_once(each)
    alone = [told.marks(each)[-1].pid for each in killers]
    assert len(set(alone)) == 4
    last = sorted((told.marks(each)[-1].at, told.marks(each)[-1].pid) for each in killers)
    assert last[2][0] - last[0][0] > 2, "more than two suspects at a time"


async def test_workers_killed_from_outside_lose_nothing(serve: conftest.Serve, tell: conftest.Tell) -> None:
    told = tell(await serve(workers=2))
    runs = [await told.begin("steps", steps=40) for _ in range(6)]
    streams = [asyncio.create_task(told.follow(each)) for each in runs]

    def seen() -> list[list[Any]]:
        return [told.events.get(each.run_id, []) for each in runs]

    await told.served.until(lambda: min(len(got) for got in seen()) > 4, "four updates of every run", 60)
    before = [len(got) for got in seen()]
    assert len(told.served.kill_workers("run-")) == 2
    await asyncio.gather(*streams)
    for each, events in zip(runs, before, strict=True):
        assert (await told.ended(each))["status"] == "success"
        assert (await told.values(each))["done"] == [f"step{number}" for number in range(40)]
        assert not told.twice_at_once(each)
        # What comes after a checkpoint is stored after it; the first event is no update.
        kept = set(range(events - 3))
        assert not kept & told.repeated(each, steps=40, deaths=1), "a step whose checkpoint was stored"


async def test_the_service_worker_is_replaced_when_it_is_killed(
    serve: conftest.Serve, tell: conftest.Tell
) -> None:
    told = tell(await serve())
    run = await told.begin("steps", steps=2)
    await told.ended(run)
    (before,) = told.served.kill_workers("service")
    assert (await told.values(run))["done"] == ["step0", "step1"], "the request waits for the next one"
    (after,) = told.served.workers("service")
    assert after != before


EXITS = [
    ("quitter", "sys.exit", "SystemExit"),
    ("quitter", "in a thread", "SystemExit"),
    ("quitter", "in a task", "SystemExit"),
    ("quitter", "SystemExit", "SystemExit"),
    ("quitter", "KeyboardInterrupt", "KeyboardInterrupt"),
    ("quitter_sync", "sys.exit", "SystemExit"),
    ("quitter_sync", "KeyboardInterrupt", "KeyboardInterrupt"),
]


async def test_a_node_that_exits_ends_its_run_and_not_its_worker(
    serve: conftest.Serve, tell: conftest.Tell
) -> None:
    told = tell(await serve(workers=1))
    neighbour = await told.begin("steps", steps=60)
    await told.witnessed(neighbour, "step1 end")
    pids = told.served.workers()
    for graph, how, expected in EXITS:
        run = await told.begin(graph, how=how)
        assert (await told.ended(run))["status"] == "error", (graph, how)
        stream = await told.follow(run)
        assert (stream[-1].event, stream[-1].data["error"]) == ("error", expected), (graph, how)
        assert told.count(run, "leave start") == 1
    assert (await told.ended(neighbour))["status"] == "success"
    assert told.served.workers() == pids
    assert all(told.count(neighbour, f"step{number} start") == 1 for number in range(60))


async def test_a_store_call_that_is_cancelled_ends_with_its_run_and_its_worker_goes_on(
    serve: conftest.Serve, tell: conftest.Tell
) -> None:
    told = tell(await serve(workers=1))
    neighbour = await told.begin("steps", steps=1000, how=str(told.witness))
    await told.witnessed(neighbour, "step1 end")
    pids = told.served.workers("run-")
    failing = [await told.begin("recaller", how="raise", seconds=0.01 * n) for n in range(10)]
    for each in failing:
        assert (await told.ended(each))["status"] == "error"
        assert (told.count(each, "recall start"), told.count(each, "fail start")) == (1, 1)
    cancelled, deleted = [await told.begin("recaller") for _ in range(2)]
    for each in (cancelled, deleted):
        await told.witnessed(each, "fail end")
    await told.client.runs.cancel(cancelled.thread_id, cancelled.run_id, wait=True)
    assert (await told.run(cancelled))["status"] == "interrupted"
    await told.client.threads.delete(deleted.thread_id)
    again = await told.begin("steps", steps=3)
    assert (await told.ended(again))["status"] == "success"
    assert told.served.workers("run-") == pids
    await told.client.runs.cancel(neighbour.thread_id, neighbour.run_id, wait=True)
    assert not told.twice_at_once(neighbour)
    assert "has ended" not in told.served.log()


async def test_threads_that_a_node_leaves_behind_do_not_keep_the_server_from_stopping(
    serve: conftest.Serve, tell: conftest.Tell
) -> None:
    told = tell(await serve())
    run = await told.begin("threads", seconds=60)
    assert (await told.ended(run))["status"] == "success"
    assert await told.served.stop(timeout_s=30) == 0


async def test_a_state_of_twenty_megabytes_is_stored_streamed_and_answered(
    serve: conftest.Serve, tell: conftest.Tell
) -> None:
    told = tell(await serve())
    size = 20_000_000
    neighbour = await told.begin("steps", steps=20)
    run = await told.begin("huge", size=size)
    assert (await told.ended(run))["status"] == "success"
    assert len((await told.values(run))["blob"]) == size
    stream = await told.follow(run, ("values",))
    assert [len(part.data.get("blob", "")) for part in stream if part.event == "values"][-1] == size
    assert (await told.ended(neighbour))["status"] == "success"


async def test_a_step_that_emits_more_than_the_backlog_ends_its_run_by_name_and_others_go_on(
    serve: conftest.Serve, tell: conftest.Tell
) -> None:
    told = tell(await serve(run_backlog=1_000_000, run_window=100_000))
    neighbour = await told.begin("steps", steps=20)
    thread_id = await told.thread()
    run = await told.client.runs.create(
        thread_id, "flood", input={"witness": str(told.witness), "size": 50_000_000}, stream_mode=["custom"]
    )
    flood = type(neighbour)(thread_id, run["run_id"])
    assert (await told.ended(flood))["status"] == "error"
    stream = await told.follow(flood, ("custom",))
    assert (stream[-1].event, stream[-1].data["error"]) == ("error", "BacklogExceeded")
    assert "1000000 bytes" in stream[-1].data["message"]
    assert (await told.ended(neighbour))["status"] == "success"


async def test_a_thread_that_emits_more_than_the_backlog_waits_for_the_disk_and_its_run_succeeds(
    serve: conftest.Serve, tell: conftest.Tell
) -> None:
    told = tell(await serve(run_backlog=1_000_000, run_window=100_000))
    thread_id = await told.thread()
    run = await told.client.runs.create(
        thread_id,
        "flood_sync",
        input={"witness": str(told.witness), "size": 30_000_000},
        stream_mode=["custom"],
    )
    flood = story.Stood(thread_id, run["run_id"])
    assert (await told.ended(flood))["status"] == "success"
    stream = await told.follow(flood, ("custom",))
    assert [part.data["n"] for part in stream if part.event == "custom"] == list(range(3000))


async def test_a_factory_that_blocks_the_service_worker_costs_a_deadline_and_then_the_worker(
    serve: conftest.Serve, tell: conftest.Tell, tmp_path: Path
) -> None:
    brake = tmp_path / "brake"
    told = tell(await serve(call_deadline_s=3, env={"FACTORY_BLOCKS_WHILE": str(brake)}))
    other = await told.begin("steps", steps=1)
    await told.ended(other)
    run = await told.begin("slow_factory", steps=1)
    assert (await told.ended(run))["status"] == "success"
    (before,) = told.served.workers("service")
    brake.touch()
    async with told.awake(AWAKE_S):
        with pytest.raises(errors.APIStatusError) as refused:
            await told.client.threads.get_state(run.thread_id)
        assert refused.value.status_code == 504
        place = await told.served.logged(r"worker service is blocked at (\S+):\d+ in slow_factory")
        assert place[1] == str(conftest.PROJECT / "bad.py")
        await told.served.logged("the service worker has been blocked for 3 s and is replaced")
        brake.unlink()
        await told.served.until(
            lambda: len(re.findall("worker service is ready", told.served.log("last"))) == 2,
            "a new service worker",
        )
        assert (await told.values(other))["done"] == ["step0"]
    assert told.served.workers("service") != [before]
    assert (await told.values(run))["done"] == ["step0"]


async def test_readers_that_stop_reading_delay_nobody_and_cost_bounded_memory(
    serve: conftest.Serve, tell: conftest.Tell
) -> None:
    steps, size, readers = 200, 400_000, 12
    served = await serve()
    told = tell(served)
    before = resident(served.pid)
    thread_id = await told.thread()
    run = await told.client.runs.create(
        thread_id,
        "steps",
        input={"witness": str(told.witness), "steps": steps, "size": size, "seconds": 0},
        stream_mode=["custom"],
    )
    stood = story.Stood(thread_id, run["run_id"])
    request = f"GET /threads/{thread_id}/runs/{run['run_id']}/stream?last_event_id=-1 HTTP/1.1\r\nHost: localhost\r\n\r\n"
    writers = []
    for _ in range(readers):
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port, limit=1000)
        writer.write(request.encode())
        await reader.read(100)  # its head; nothing more is taken
        writers.append(writer)
    async with told.awake(AWAKE_S):
        most = 0
        ending = asyncio.create_task(told.ended(stood, timeout_s=120))
        while not ending.done():
            most = max(most, resident(served.pid))
            await asyncio.wait([ending], timeout=0.05)
    assert (await ending)["status"] == "success"
    growth = (most - before) // 2**20
    assert growth < 300, (
        f"{growth} MiB more; the stalled readers were owed {readers * steps * size // 2**20} MiB"
    )
    assert sum(part.event == "custom" for part in await told.follow(stood, ("custom",))) == steps
    for writer in writers:
        writer.transport.abort()


def resident(pid: int) -> int:
    """Return a process's resident memory in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_code_that_holds_the_interpreter_is_logged_with_its_line_and_killed_by_a_cancel(
    serve: conftest.Serve, tell: conftest.Tell
) -> None:
    told = tell(await serve(workers=1, cancel_deadline_s=1))
    run = await told.begin("regex")
    await told.witnessed(run, "backtrack start")
    pid = told.marks(run)[-1].pid
    await told.served.logged(r"File \".*bad.py\", line \d+ in backtrack")
    await told.client.runs.cancel(run.thread_id, run.run_id, wait=True)
    assert (await told.run(run))["status"] == "interrupted"
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
