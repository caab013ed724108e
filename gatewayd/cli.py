"""The command ``gatewayd``: arguments in, exit code out.

Exit codes: 0 ended as asked; 1 the data directory is held by another daemon, the project was not reloaded,
the database can't be used now (locked, read-only, no room), or not all was imported; 2 wrong arguments; 65
(EX_DATAERR) the database is damaged; 78 (EX_CONFIG) the settings, langgraph.json or the project can't be
used. What each command needs is imported when it is called: ``--version`` costs nothing, and a worker doesn't
load the server.
"""

from __future__ import annotations

import argparse
import errno
import logging
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gatewayd
from gatewayd.errors import BadConfiguration, Damaged, DataDirBusy, InsufficientStorage, Unavailable

if TYPE_CHECKING:
    from gatewayd.project import Project
    from gatewayd.settings import Settings

EX_CONFIG = 78
EX_DATAERR = 65

NO_SETTINGS = frozenset({"command", "accepted", "ignored"})
"""What the parser notes beside the flags that are settings."""

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run the command line and return the exit code; wrong arguments raise SystemExit(2), as argparse does.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["worker"]:  # started by the daemon only, hence not in the help
        from gatewayd.worker import main as worker_main

        return worker_main.main(arguments[1:])
    given = _parser().parse_args(arguments)
    try:
        return {"serve": _serve, "reload": _reload, "db": _db, "help": _help}[given.command](given)
    except BadConfiguration as error:
        _complain(error.detail)
        return EX_CONFIG
    except Damaged as error:
        _complain(error.detail)
        return EX_DATAERR
    except (DataDirBusy, InsufficientStorage, Unavailable) as error:
        _complain(error.detail)
        return 1
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        _complain(f"the disk is full: {error}")
        return 1
    except KeyboardInterrupt:  # before the daemon has taken over the signals
        return 130


def _serve(given: argparse.Namespace) -> int:
    from gatewayd import logs, settings

    flags = {name: value for name, value in vars(given).items() if name not in NO_SETTINGS}
    loaded, project = settings.load(flags, os.environ)
    logs.configure(loaded.log_level, loaded.log_json, color=loaded.log_color, levels=dict(loaded.log_levels))
    for flag in given.ignored or ():
        log.warning("%s is ignored: gatewayd has no such thing", flag)
    _tell_findings(project)

    from gatewayd import daemon

    def read() -> tuple[Settings, Project]:
        again = settings.load(flags, os.environ)
        _tell_findings(again[1])
        return again

    return daemon.serve(loaded, project, read)


def _tell_findings(project: Project) -> None:
    for line in project.warnings:
        log.warning("%s", line)
    for line in project.notes:
        log.info("%s", line)


def _reload(given: argparse.Namespace) -> int:
    from gatewayd import reload

    try:
        print("reloaded:", reload.request(_settings_anyhow(given).data_dir))
    except reload.NotReloaded as error:
        _complain(f"not reloaded: {error.detail}")
        return 1
    return 0


def _db(given: argparse.Namespace) -> int:
    from pathlib import Path

    from gatewayd import logs, settings

    flags = {"config": given.config, "data_dir": given.data_dir}
    logs.configure("WARNING", as_json=False)
    if given.action == "import":
        from gatewayd.commands import importing

        loaded, served = settings.load(flags, os.environ)
        done = importing.run(loaded, served, Path(given.file), given.graph)
        print("\n".join(done.lines()))
        return 1 if done.failed else 0
    loaded = _settings_anyhow(given)
    if given.action == "report":
        from gatewayd.commands import report

        print(report.report(loaded, as_json=given.json))
    else:
        from gatewayd.commands import compacting

        print(compacting.compacted(loaded))
    return 0


def _help(given: argparse.Namespace) -> int:
    from gatewayd import manual

    print(manual.contents() if given.topic is None else manual.page(given.topic), end="")
    return 0


def _settings_anyhow(given: argparse.Namespace) -> Settings:
    """
    Return the settings, those that can be had without a project if it is somewhere else or broken.

    Then the data directory is the one that is named, or lies where the project's file would be. Raises
    `BadConfiguration`.
    """
    from pathlib import Path

    from gatewayd import settings

    try:
        return settings.load({"config": given.config, "data_dir": given.data_dir}, os.environ)[0]
    except BadConfiguration:
        named = given.data_dir or os.environ.get("GATEWAYD_DATA_DIR")
        beside = Path(given.config or "langgraph.json").parent / ".gatewayd"
        if not named and not beside.is_dir():
            raise
        return settings.Settings(data_dir=Path(named) if named else beside)


def _complain(detail: str) -> None:
    print("gatewayd:", " ".join(detail.split()), file=sys.stderr)


class _Ignored(argparse.Action):
    """A flag of the reference's command that scripts may go on giving; it is remembered, to be warned of."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        namespace.ignored = [*(namespace.ignored or ()), option_string]


def _parser() -> argparse.ArgumentParser:
    # Abbreviated flags would change their meaning when a flag is added.
    parser = argparse.ArgumentParser(
        prog="gatewayd", description="A self-hosted server for LangGraph agents.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"gatewayd {gatewayd.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serve = commands.add_parser(
        "serve",
        help="serve the graphs of a langgraph.json",
        description="Serve the graphs of a langgraph.json. "
        "Every setting can be given as GATEWAYD_<NAME> in the environment, too.",
        allow_abbrev=False,
    )
    # No defaults and no types here: both are the settings' business, wherever a value comes from.
    serve.add_argument("--config", "-c", metavar="FILE", help="the project's file (default: langgraph.json)")
    serve.add_argument("--host", metavar="ADDRESS", help="listen on this address (default: 127.0.0.1)")
    serve.add_argument(
        "--port", metavar="PORT", help="listen on this port; 0 takes a free one (default: 2024)"
    )
    serve.add_argument(
        "--data-dir", metavar="DIR", help="keep the data here (default: .gatewayd beside the project's file)"
    )
    serve.add_argument("--workers", metavar="N", help="number of run workers (default: 1)")
    serve.add_argument(
        "--jobs-per-worker",
        "--n-jobs-per-worker",
        metavar="N",
        help="runs at once in each worker (default: 10)",
    )
    serve.add_argument(
        "--worker-max-runs", metavar="N", help="replace a worker after N runs (default: 0, never)"
    )
    serve.add_argument(
        "--worker-memory", metavar="BYTES", help="kill a worker that uses more memory (default: 0, no limit)"
    )
    serve.add_argument(
        "--max-db-size",
        metavar="SIZE",
        help="refuse new runs and threads when the database is that large, as 10GB (default: 0, no limit)",
    )
    serve.add_argument(
        "--log-level", metavar="LEVEL", help="DEBUG, INFO, WARNING, ERROR or CRITICAL (default: INFO)"
    )
    serve.add_argument(
        "--log-json",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="log JSON objects instead of text",
    )
    for flag in ("--no-reload", "--no-browser", "--allow-blocking"):  # so it is here anyway
        serve.add_argument(flag, action="store_true", dest="accepted", help=argparse.SUPPRESS)
    for flag in ("--studio-url", "--server-log-level"):
        serve.add_argument(flag, action=_Ignored, dest="ignored", help=argparse.SUPPRESS)
    reload = commands.add_parser(
        "reload",
        help="have a running daemon load its project again",
        description="Have the daemon that serves a project read its langgraph.json and load its code again, "
        "without closing a connection. Waits for the outcome.",
        allow_abbrev=False,
    )
    reload.add_argument("--config", "-c", metavar="FILE", help="the project's file (default: langgraph.json)")
    reload.add_argument(
        "--data-dir", metavar="DIR", help="the daemon's data (default: .gatewayd beside the project's file)"
    )
    _db_parser(commands)
    _help_parser(commands)
    return parser


def _help_parser(commands: Any) -> None:
    from gatewayd import manual

    pages = commands.add_parser(
        "help",
        help="print a page of the manual",
        description="Print a page of the manual; without a topic, what there is.",
        allow_abbrev=False,
    )
    pages.add_argument(
        "topic",
        metavar="TOPIC",
        nargs="?",
        choices=tuple(manual.TOPICS),
        help="one of: " + ", ".join(manual.TOPICS),
    )


def _db_parser(commands: Any) -> None:
    db = commands.add_parser("db", help="report on, compact or fill the database", allow_abbrev=False)
    actions = db.add_subparsers(dest="action", required=True, metavar="ACTION")
    report = actions.add_parser(
        "report",
        help="tell what takes how much",
        description="Tell how large the database is, what in it takes how much, and how fast it grows. "
        "Works beside a running daemon.",
        allow_abbrev=False,
    )
    report.add_argument("--json", action="store_true", help="as a JSON object")
    compact = actions.add_parser(
        "compact",
        help="rebuild the database without free pages",
        description="Rebuild the database without free pages. The daemon must be stopped, and the disk have room for "
        "the new file beside the old one.",
        allow_abbrev=False,
    )
    importing = actions.add_parser(
        "import",
        help="bring in the threads of a stock SQLite saver",
        description="Bring in the threads of a database of langgraph-checkpoint-sqlite. The daemon must be stopped. "
        "Threads that are there already are passed over.",
        allow_abbrev=False,
    )
    importing.add_argument("file", metavar="FILE", help="the saver's database")
    importing.add_argument(
        "--graph",
        metavar="GRAPH",
        required=True,
        help="the graph of langgraph.json that the threads belong to",
    )
    for action in (report, compact, importing):
        action.add_argument(
            "--config", "-c", metavar="FILE", help="the project's file (default: langgraph.json)"
        )
        action.add_argument(
            "--data-dir",
            metavar="DIR",
            help="the daemon's data (default: .gatewayd beside the project's file)",
        )
