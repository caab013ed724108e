"""What ends or refuses a run by a limit of its own: strict answers, the job timeout, the recursion limit."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gatewayd import ids, wire
from gatewayd.model.caller import INTERNAL
from gatewayd.storage.sqlite import runs
from tests.engine import inprocess

PROJECT = Path(__file__).parent / "project" / "langgraph.json"
GIVEN = {"word": "w", "path": []}


async def asked(daemon: inprocess.Daemon) -> tuple[str, str]:
    """Return a thread that waits for the answer to a question, and the question's id."""
    thread_id = ids.new_id()
    await daemon.finish(inprocess.request("two_questions", thread_id=thread_id, input=GIVEN))
    return thread_id, await open_question(daemon, thread_id)


async def open_question(daemon: inprocess.Daemon, thread_id: str) -> str:
    thread = await daemon.services.storage.thread_get(INTERNAL, thread_id)
    ((question,),) = (thread.interrupts or {}).values()
    return str(question["id"])


def answer(thread_id: str, resume: Any) -> Any:
    """Return the request of a run that answers, strictly."""
    request = inprocess.request("two_questions", thread_id=thread_id, command={"resume": resume})
    request.kwargs["strict_resume"] = True
    return request


async def test_a_strict_answer_that_fits_no_open_question_fails_its_run_and_leaves_the_thread_as_it_was(
    tmp_path: Path,
) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id, question = await asked(daemon)
        before = await daemon.services.storage.thread_get(INTERNAL, thread_id)
        for wrong in ({"0" * 32: "x"}, {question: "one", "0" * 32: "x"}, {}):
            ended = await daemon.finish(answer(thread_id, wrong))
            assert ended.status == "error"
            assert ended.error is not None
            assert ended.error["error"] == "UnknownInterruptError"
            after = await daemon.services.storage.thread_get(INTERNAL, thread_id)
            assert (after.status, after.values, after.interrupts, after.error) == (
                "interrupted",
                before.values,
                before.interrupts,
                None,
            )
        assert (await daemon.finish(answer(thread_id, {question: "one"}))).status == "success"
        assert await open_question(daemon, thread_id) != question


async def test_a_second_strict_click_fails_and_answers_nothing(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon:
        thread_id, question = await asked(daemon)
        # Both are on their way before the first can have been executed.
        clicks = (daemon.create(answer(thread_id, "one")) for _ in range(2))
        first, second = await asyncio.gather(*clicks)
        assert first.ended is not None
        assert second.ended is not None
        assert (await first.ended).status == "success"
        again = await second.ended
        assert (again.status, again.error and again.error["error"]) == ("error", "UnknownInterruptError")
        assert await open_question(daemon, thread_id) != question


async def test_a_strict_answer_that_was_taken_is_not_refused_after_a_crash(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT, writer=inprocess.CrashingWriter) as daemon:
        thread_id, question = await asked(daemon)
        daemon.writer.crash_when(lambda function, _: function is runs.run_finish_if_active)
        run = (await daemon.create(answer(thread_id, {question: "one"}))).run
        await daemon.writer.crashed.wait()
        daemon.abandon()
    async with inprocess.opened(tmp_path, PROJECT) as daemon, asyncio.timeout(20):
        ended = await daemon.services.runs.wait(INTERNAL, thread_id, run.run_id)
        assert ended.status == "success"
        assert await open_question(daemon, thread_id) != question


@pytest.mark.parametrize("graph", ["steps", "scattering"])
async def test_a_run_that_takes_too_long_ends_as_a_timeout_with_what_it_has_stored(
    tmp_path: Path, graph: str
) -> None:
    async with inprocess.opened(tmp_path, PROJECT, job_timeout_s=0.000001) as daemon, asyncio.timeout(20):
        thread_id = ids.new_id()
        ended = await daemon.finish(inprocess.request(graph, thread_id=thread_id, input=GIVEN))
        assert ended.status == "timeout"
        assert ended.error == {"error": "TimeoutError", "message": ""}
        thread = await daemon.services.storage.thread_get(INTERNAL, thread_id)
        assert (thread.status, thread.error) == ("error", ended.error)


async def test_a_recursion_limit_of_the_request_ends_the_run_by_name(tmp_path: Path) -> None:
    async with inprocess.opened(tmp_path, PROJECT) as daemon, asyncio.timeout(20):
        request = inprocess.request(
            "steps", thread_id=ids.new_id(), input=GIVEN, config={"recursion_limit": 2}
        )
        ended = await daemon.finish(request)
        assert (ended.status, ended.error and ended.error["error"]) == ("error", "GraphRecursionError")
        thread = await daemon.services.storage.thread_get(INTERNAL, str(request.thread_id))
        assert wire.loads(thread.values or b"{}")["path"] != []
