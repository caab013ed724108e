"""The daemon process: socket, lock, signals, exit codes; and the order of start and stop.

Start: the data directory is locked, what the workers of an earlier daemon left behind is killed, the socket
is bound (a client that comes early waits in its backlog), storage is opened and orphans are made pending
again, then the first request is accepted. The workers load the project at the same time; "serving" is printed
when the service worker has loaded it.

Stop (SIGTERM, SIGINT): no new runs; all runs are handed back to storage; connections are aborted without
their last chunk, so that clients know that they were cut; the workers end, the writer is flushed, the lock is
released.

Reload (SIGHUP): langgraph.json is read again and new workers load the project, see `reload` and
`services.reload_project`. The same signal says that the terminal that the daemon was started from hangs up;
then it stops (not so under nohup).

Exit codes: 0 stopped in order; 1 can't start (port or data directory in use, or the database can't be used
now); 65 the database is damaged; 78 the configuration or the project can't be used (after these two the
service manager need not try again).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import gatewayd
from gatewayd import api, datadir, descriptors, malloc, project, reload, sample, settings, tasks
from gatewayd.api.responses import reply
from gatewayd.api.sockets import addresses, listening, server
from gatewayd.errors import BadConfiguration, GatewaydError
from gatewayd.services import Services, open_services, reload_project

log = logging.getLogger(__name__)

BACKLOG = 1024
SWITCH_INTERVAL_S = 0.0005
"""
The writer's thread asks for the interpreter after each statement; the default of 5 ms would be its price.
"""


class PortBusy(Exception):
    """The address is in use or can't be bound."""


Read = Callable[[], tuple[settings.Settings, project.Project]]
"""Reads settings and project as at the start, and tells what is ignored. Raises `BadConfiguration`."""


def serve(options: settings.Settings, served: project.Project, read: Read) -> int:
    """Serve until told to stop; return the exit code. `read` is for reloads."""
    # Until a reload can be done. Under nohup it is ignored already.
    immune = signal.signal(signal.SIGHUP, signal.SIG_IGN) is signal.SIG_IGN
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        with datadir.held(options.data_dir), bound(options.host, options.port) as sock:
            return asyncio.run(_serve(options, served, sock, read, immune=immune))
    except PortBusy as error:
        print(f"gatewayd: {error}", file=sys.stderr)  # noqa: T201  the command's last word
        return 1


async def _serve(
    options: settings.Settings, served: project.Project, sock: socket.socket, read: Read, *, immune: bool
) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(descriptors.on_error)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    url = url_of(sock)
    async with running(options, served, sock, url) as services:
        reloader = reload.Reloader(options.data_dir, lambda: _reload(services, read))
        loop.add_signal_handler(signal.SIGHUP, _on_hangup(reloader.ask, stop.set, immune=immune))
        reloader.open()
        failure = await _first_load(services, stop)
        if failure is not None:
            raise BadConfiguration(failure)
        if not stop.is_set():
            _tell(f"gatewayd {gatewayd.__version__} serving {_graphs(served)} at {url}")
            if (steps := sample.next_steps(options.config, url)) is not None:
                _tell(steps)
        reloads = tasks.Group("reloads", services.loops)
        reloads.spawn_forever(reloader.run, "reloader")
        await stop.wait()
        log.info("stopping")
        await reloads.stop()
    return 0


async def _reload(services: Services, read: Read) -> str:
    """Load the project again and return what is served now. Raises `BadConfiguration` or `Unavailable`."""
    try:
        options, served = read()
        for name in settings.changed(services.settings, options):
            log.warning("%s has changed; that takes effect at the next start", name)
        await reload_project(services, served)
    except GatewaydError as error:
        services.serving.trouble = error.detail
        raise
    return f"{_graphs(served)} of {served.path}"


def _graphs(served: project.Project) -> str:
    count = len(served.graphs)
    return f"{count} graph" if count == 1 else f"{count} graphs"


def _on_hangup(ask: Callable[[], None], stop: Callable[[], None], *, immune: bool) -> Callable[[], None]:
    """
    Return what SIGHUP does: a reload, unless it means that the terminal is gone, which the `immune` survive.
    """
    terminal = _has_terminal()

    def hangup() -> None:
        nonlocal terminal
        if terminal and not _has_terminal():
            terminal = False
            if not immune:
                stop()
        else:
            ask()

    return hangup


def _has_terminal() -> bool:
    """Whether there is a terminal whose end is told by SIGHUP."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _tell(text: str) -> None:
    with contextlib.suppress(OSError):  # the reader may be gone (``… | head``)
        print(text, flush=True)  # noqa: T201  the command talks to its user


async def _first_load(services: Services, stop: asyncio.Event) -> str | None:
    """Wait until the project is loaded; return why it can't be."""
    waiting = tasks.Group("first load")
    failure = services.workers.failure
    loaded = waiting.spawn(services.workers.service_loaded.wait(), "loaded")
    stopped = waiting.spawn(stop.wait(), "stopped")
    first: set[asyncio.Future[Any]] = {loaded, stopped, failure}
    await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
    await waiting.stop()
    return failure.result() if failure.done() else None


@asynccontextmanager
async def running(
    options: settings.Settings,
    served: project.Project,
    sock: socket.socket,
    url: str,
) -> AsyncIterator[Services]:
    """Accept requests on `sock` as long as the context lasts."""
    async with open_services(options, served, url, partial(reply.run, api_url=url)) as services:
        runner = server.Runner(
            api.build_app(services), handler_cancellation=True, access_log=None, shutdown_timeout=1.0
        )
        await runner.setup()
        listener = _listener(options)
        await listening.Site(runner, sock, listener, BACKLOG).start()
        watching = tasks.Group("connections")
        watching.spawn_forever(listener.watch, "watch")
        if malloc.can_trim():
            watching.spawn_forever(malloc.watch, "give memory back")
        try:
            yield services
        finally:
            await watching.stop()
            await services.runs.stop(options.drain_s)
            services.shutdown.set()  # streams abort their connections
            await runner.cleanup()


def _listener(options: settings.Settings) -> listening.Listener:
    room = descriptors.connections(descriptors.raise_limit(), options.max_connections, options.workers)
    return listening.Listener(
        addresses=addresses.Addresses(options.trusted_proxies),
        most=room,
        most_of_one=options.max_per_address,
        receive_timeout_s=options.receive_timeout_s,
        write_timeout_s=options.write_timeout_s,
    )


@contextlib.contextmanager
def bound(host: str, port: int) -> Iterator[socket.socket]:
    """Yield a listening socket. Raises `PortBusy`."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError as error:
        raise PortBusy(
            f"can't listen on {host}:{port}: {error.strerror or error}; choose another port with --port (0 takes a free one)"
        ) from error
    with sock:
        yield sock


def url_of(sock: socket.socket) -> str:
    """Return the server's address as a client on this machine writes it."""
    host, port = sock.getsockname()[:2]
    if host in {"0.0.0.0", "::"}:  # noqa: S104  only compared
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
