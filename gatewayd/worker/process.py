"""The life of a worker process: set up before anything else runs, ended with the daemon."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gatewayd import logs

OOM_SCORE_ADJ = "300"
"""So that the kernel, when memory runs out, takes a worker and not the daemon."""


def main(arguments: Sequence[str]) -> int:
    """Run a worker on inherited sockets: ``--name NAME --control FD --data FD``."""
    parser = argparse.ArgumentParser(prog="gatewayd worker")
    parser.add_argument("--name", required=True)
    parser.add_argument("--control", type=int, required=True)
    parser.add_argument("--data", type=int, required=True)
    options = parser.parse_args(arguments)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the whole group gets them; stopping is the daemon's business
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE_ADJ)
    sockets = [socket.socket(fileno=descriptor) for descriptor in (options.control, options.data)]
    for each in sockets:
        each.set_inheritable(False)  # a child of user code must not keep them open
    code = asyncio.run(_work(*sockets))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # threads of user code must not keep the process


async def _work(control: socket.socket, data: socket.socket) -> int:
    from gatewayd.worker import core, link  # langgraph comes in here, after the signals are ignored

    working = core.Core(os.getpid())

    def on_control(frame: list[Any]) -> None:
        if frame[0] == "configure":
            settings = frame[1]
            logs.configure(settings["log_level"], settings["log_json"], color=settings["log_color"])
        working.on_control(frame)

    channel = link.Link(control, data, on_control=on_control, on_data=working.on_data, on_end=lambda: os._exit(0))
    working.link = channel
    channel.start()
    code = await working.main()
    return code
