"""A daemon that is killed at a chosen point: ``launcher.py --config … --data-dir … --port …``.

``CRASH_AT=run_finish_if_active:before:2`` in the environment means: SIGKILL to this process when the second
operation of this name is about to be committed ("before": its statements have been executed, the transaction
is open) or right after the commit ("after": nobody has been told yet). ``run_checkpoint_apply/merge`` counts
only those whose first argument begins with that word. The product knows nothing of it: the point is in the
writer that this program puts in the place of the product's. ``CRASH_WHEN`` may name a FIFO: at the point, the
writer waits until another process has opened it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import Any
from unittest import mock

from gatewayd import daemon, datadir, logs, project, settings
from gatewayd.storage.sqlite.engine import writing


class CrashingWriter(writing.Writer):
    """A writer that kills its process at the point named by CRASH_AT."""

    point = os.environ["CRASH_AT"].split(":")
    left = int(point[2])

    def _run_one(self, operation: Any, undo: Any) -> None:
        super()._run_one(operation, undo)
        name, when, _ = self.point
        function, _, word = name.partition("/")
        if operation.name != function or (word and operation.args[0][0] != word):
            return
        type(self).left -= 1
        if self.left == 0 and when == "before":
            _die()

    def _run(self, batch: list[Any]) -> None:
        super()._run(batch)
        if self.left <= 0:
            _die()


def _die() -> None:
    if gate := os.environ.get("CRASH_WHEN"):
        with Path(gate).open("rb"):
            pass
    os.kill(os.getpid(), signal.SIGKILL)


async def _serve(options: settings.Settings, served: project.Project, sock: Any) -> None:
    url = daemon.url_of(sock)
    async with contextlib.AsyncExitStack() as stack:
        with mock.patch.object(writing, "Writer", CrashingWriter):
            services = await stack.enter_async_context(daemon.running(options, served, sock, url))
        await services.workers.service_loaded.wait()
        point = os.environ["CRASH_AT"]
        print(f"gatewayd is serving at {url}, to crash at {point}", flush=True)  # noqa: T201 - who has started it waits for this line
        await asyncio.get_running_loop().create_future()


def main() -> None:
    parser = argparse.ArgumentParser()
    for flag in ("--config", "--data-dir", "--port"):
        parser.add_argument(flag)
    options, served = settings.load(vars(parser.parse_args()), os.environ)
    logs.configure(
        options.log_level, options.log_json, color=options.log_color, levels=dict(options.log_levels)
    )
    with daemon.bound(options.host, options.port) as sock, datadir.held(options.data_dir):
        asyncio.run(_serve(options, served, sock))


if __name__ == "__main__":
    main()
