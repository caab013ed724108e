"""The life of a worker process: set up before anything else runs, ended with the daemon."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import faulthandler
import logging
import os
import socket
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

from gatewayd import logs
from gatewayd.channel import frames
from gatewayd.worker.process import loop as worker_loop
from gatewayd.worker.process import prints
from gatewayd.worker.project import importing

log = logging.getLogger(__name__)

OOM_SCORE_ADJ = "300"
"""So that the kernel, when memory runs out, takes a worker and not the daemon."""


def main(arguments: Sequence[str]) -> int:
    """Run a worker on inherited sockets: ``--name NAME --control FD --data FD --dump SIGNAL``."""
    parser = argparse.ArgumentParser(prog="gatewayd worker")
    parser.add_argument("--name", required=True)
    parser.add_argument("--control", type=int, required=True)
    parser.add_argument("--data", type=int, required=True)
    parser.add_argument("--dump", type=int, required=True)
    options = parser.parse_args(arguments)
    importing.ignore_signals()
    faulthandler.register(options.dump, all_threads=True)  # works also while C code holds the interpreter
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE_ADJ)
    sockets = [socket.socket(fileno=descriptor) for descriptor in (options.control, options.data)]
    for sock in sockets:
        sock.set_inheritable(False)  # a child of user code must not keep them open
    code = _work(*sockets)
    prints.flush()
    os._exit(
        code
    )  # neither threads of user code nor what it has registered for the exit must keep the process


def _end(error: Exception | None) -> None:
    """
    End the process: its daemon is gone, or a thread of its channel has failed and nothing can be heard or
    said.
    """
    if error is None:
        os._exit(0)
    try:
        log.critical("a thread of the worker's channel has failed, and the process ends", exc_info=error)
    finally:
        os._exit(frames.EXIT_FAILED)


def _work(control: socket.socket, data: socket.socket) -> int:
    """Load the project, then run the loop until the daemon says stop; return the exit code."""
    from gatewayd.worker import core
    from gatewayd.worker.process import link  # langgraph comes in here, after the signals are ignored

    loop = worker_loop.Loop()
    working = core.Core(os.getpid(), loop)

    def on_control(frame: list[Any]) -> None:
        if frame[0] == "configure":
            settings = frame[1]
            logs.configure(
                settings["log_level"],
                settings["log_json"],
                color=settings["log_color"],
                levels=settings["log_levels"],
            )
            prints.capture()
        working.on_control(frame)

    channel = link.Link(control, data, on_control=on_control, on_data=working.on_data, on_end=_end)
    working.link = channel
    channel.start()
    project = working.load()
    if project is None:
        return 1
    asyncio.set_event_loop(loop)
    return _run(loop, working.main(project))


def _run(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, int]) -> int:
    """
    Run the event loop until the work is done; what is left in it then is left.

    A SystemExit or KeyboardInterrupt that a node raises leaves the loop through here, after the node's task
    has been given it as its result: the run ends by it, the loop goes on for the others.
    """
    task = loop.create_task(work)
    while True:
        try:
            return loop.run_until_complete(task)
        except (SystemExit, KeyboardInterrupt) as error:
            if task.done():
                raise
            log.warning("user code raised %s; the worker goes on", type(error).__name__)
