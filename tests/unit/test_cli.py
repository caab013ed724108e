"""The command: what it hands over, what it says, its exit codes."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import types

import pytest

import gatewayd
from gatewayd import cli, reload
from gatewayd.errors import BadConfiguration, DataDirBusy
from gatewayd.storage.sqlite.engine import database, migrate


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "agent.py").write_text("graph = None\n")
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": {"agent": "./agent.py:graph"}}))
    monkeypatch.chdir(tmp_path)
    for name in ("GATEWAYD_PORT", "LOG_LEVEL", "LOG_JSON"):
        monkeypatch.delenv(name, raising=False)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield tmp_path.resolve()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


@pytest.fixture
def served(monkeypatch):
    """Stands in for the daemon: records what it was given, returns or raises what the test says."""
    calls = types.SimpleNamespace(given=[], outcome=0)

    def serve(settings, project, read):
        calls.given.append((settings, project))
        calls.read = read
        if isinstance(calls.outcome, BaseException):
            raise calls.outcome
        return calls.outcome

    daemon = types.ModuleType("gatewayd.daemon")
    daemon.serve = serve
    monkeypatch.setitem(sys.modules, "gatewayd.daemon", daemon)
    monkeypatch.setattr(gatewayd, "daemon", daemon, raising=False)
    return calls


def test_serve_hands_settings_and_project_to_the_daemon_and_returns_its_code(folder, served):
    served.outcome = 5
    flags = ["--host", "::1", "--port", "0", "--data-dir", "d", "--workers", "2", "--n-jobs-per-worker", "3"]
    assert cli.main(["serve", *flags, "--log-level", "error", "--log-json"]) == 5
    ((settings, project),) = served.given
    assert (settings.host, settings.port, settings.workers, settings.jobs_per_worker) == ("::1", 0, 2, 3)
    assert (settings.data_dir, settings.log_level, settings.log_json) == (folder / "d", "ERROR", True)
    assert project.path == folder / "langgraph.json"


def test_a_flag_can_switch_json_off(folder, served, monkeypatch):
    monkeypatch.setenv("LOG_JSON", "true")
    cli.main(["serve", "--no-log-json"])
    assert served.given[0][0].log_json is False


def test_flags_of_the_reference_that_change_nothing_here_are_accepted(folder, served, capsys):
    assert cli.main(["serve", "--no-reload", "--no-browser", "--allow-blocking"]) == 0
    assert capsys.readouterr().err == ""


def test_flags_of_the_reference_that_are_ignored_are_each_warned_of(folder, served, capsys):
    assert cli.main(["serve", "--studio-url", "https://x", "--server-log-level", "debug", "--no-reload"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert ["--studio-url" in lines[0], "--server-log-level" in lines[1]] == [True, True]
    assert len(lines) == 2


def test_a_flag_that_asks_for_encryption_is_not_ignored(folder, served):
    with pytest.raises(SystemExit) as caught:
        cli.main(["serve", "--ssl-certfile", "x"])
    assert caught.value.code == 2
    assert served.given == []


def test_flags_are_not_guessed_from_their_beginning(folder, served):
    with pytest.raises(SystemExit):
        cli.main(["serve", "--work", "2"])


def test_each_warning_of_the_project_is_one_line_of_the_log(folder, served, capsys):
    document = {"graphs": {"a": "./agent.py:graph"}, "mystery": 1, "base_image": "x"}
    (folder / "langgraph.json").write_text(json.dumps(document))
    cli.main(["serve"])
    warning, note = capsys.readouterr().err.splitlines()
    assert " WARN " in warning
    assert "mystery" in warning
    assert " INFO " in note
    assert "base_image" in note


def test_bad_configuration_is_one_line_on_stderr_and_exit_code_78(folder, served, capsys):
    (folder / "langgraph.json").write_text('{"graphs": {"agent": "./gone.py:graph"}}')
    assert cli.main(["serve"]) == 78
    captured = capsys.readouterr()
    expected = f"gatewayd: {folder}/langgraph.json: graphs.agent: ./gone.py:graph: there is no file {folder}/gone.py\n"
    assert (captured.err, captured.out) == (expected, "")
    assert served.given == []


def test_a_project_that_does_not_load_is_one_line_and_exit_code_78(folder, served, capsys):
    served.outcome = BadConfiguration("graph 'agent' (./agent.py:graph):\n  ImportError: no x")
    assert cli.main(["serve"]) == 78
    assert capsys.readouterr().err == "gatewayd: graph 'agent' (./agent.py:graph): ImportError: no x\n"


def test_a_held_data_directory_is_one_line_and_exit_code_1(folder, served, capsys):
    served.outcome = DataDirBusy("/d is held by gatewayd, pid 5")
    assert cli.main(["serve"]) == 1
    assert capsys.readouterr().err == "gatewayd: /d is held by gatewayd, pid 5\n"


def test_any_other_error_is_a_bug_and_not_hidden(folder, served):
    served.outcome = RuntimeError("bug")
    with pytest.raises(RuntimeError, match="bug"):
        cli.main(["serve"])


def test_the_hidden_worker_command_hands_its_arguments_over_untouched(monkeypatch):
    got = []
    process = types.ModuleType("gatewayd.worker.main")
    process.main = lambda argv: got.append(argv) or 3
    package = types.ModuleType("gatewayd.worker")
    package.process = process
    monkeypatch.setitem(sys.modules, "gatewayd.worker", package)
    monkeypatch.setitem(sys.modules, "gatewayd.worker.main", process)
    assert cli.main(["worker", "--fd", "3", "--version"]) == 3
    assert got == [["--fd", "3", "--version"]]


def test_the_worker_command_is_not_in_the_help(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    captured = capsys.readouterr()
    assert "serve" in captured.out
    assert "worker" not in captured.out


def test_no_command_is_a_usage_error():
    with pytest.raises(SystemExit) as caught:
        cli.main([])
    assert caught.value.code == 2


def test_the_version_is_printed_without_loading_the_server():
    code = (
        "import sys\nfrom gatewayd import cli\n"
        "try: cli.main(['--version'])\n"
        "except SystemExit as end: assert not end.code\n"
        "print([name for name in ('aiohttp', 'asyncio', 'orjson', 'attrs', 'langgraph') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"gatewayd {gatewayd.__version__}\n[]\n"


def test_the_module_can_be_run_like_the_command():
    command = [sys.executable, "-m", "gatewayd", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"gatewayd {gatewayd.__version__}\n"


# reload


def test_the_daemon_can_read_settings_and_project_again_as_they_were_given_at_the_start(
    folder, served, caplog
):
    cli.main(["serve", "--port", "5"])
    graphs = {"agent": "./agent.py:graph", "other": "./agent.py:other"}
    (folder / "langgraph.json").write_text(json.dumps({"graphs": graphs, "novelty": 1}))
    caplog.clear()
    settings, project = served.read()
    assert (settings.port, list(project.graphs)) == (5, ["agent", "other"])
    assert "novelty is ignored" in caplog.text
    (folder / "langgraph.json").write_text("{")
    with pytest.raises(BadConfiguration, match="not valid JSON"):
        served.read()


@pytest.fixture
def asked(monkeypatch):
    """Stands in for `reload.request`: records whom it was to ask."""
    calls = types.SimpleNamespace(given=[], outcome="2 graphs")

    def request(data_dir):
        calls.given.append(data_dir)
        if isinstance(calls.outcome, BaseException):
            raise calls.outcome
        return calls.outcome

    monkeypatch.setattr(reload, "request", request)
    return calls


def test_reload_asks_the_daemon_of_the_projects_data_directory_and_prints_what_it_says(folder, asked, capsys):
    assert cli.main(["reload"]) == 0
    assert cli.main(["reload", "--config", str(folder / "langgraph.json")]) == 0
    assert asked.given == [folder / ".gatewayd"] * 2
    assert capsys.readouterr().out == "reloaded: 2 graphs\n" * 2


def test_reload_needs_no_project_when_the_data_directory_is_named(folder, asked):
    (folder / "langgraph.json").unlink()
    assert cli.main(["reload", "--data-dir", "d"]) == 0
    assert [str(path) for path in asked.given] == ["d"]


def test_reload_and_report_need_no_project_where_its_data_directory_lies_or_is_named(
    folder, asked, monkeypatch, capsys
):
    (folder / "langgraph.json").unlink()
    monkeypatch.chdir(folder)
    assert cli.main(["reload"]) == 78
    assert "langgraph.json" in capsys.readouterr().err
    data_dir = folder / ".gatewayd"
    data_dir.mkdir(exist_ok=True)
    path = data_dir / "gatewayd.sqlite"
    connection = database.connect(path)
    migrate.migrate(connection, path)
    connection.close()
    assert cli.main(["reload"]) == 0
    assert [path.resolve() for path in asked.given] == [data_dir.resolve()]
    assert cli.main(["db", "report"]) == 0
    assert "gatewayd.sqlite" in capsys.readouterr().out
    monkeypatch.setenv("GATEWAYD_DATA_DIR", str(folder / "elsewhere"))
    assert cli.main(["reload"]) == 0
    assert asked.given[-1] == folder / "elsewhere"


def test_a_reload_that_failed_is_exit_code_1_and_a_project_that_cannot_be_read_78(folder, asked, capsys):
    asked.outcome = reload.NotReloaded("agent.py: SyntaxError")
    assert cli.main(["reload"]) == 1
    assert capsys.readouterr().err == "gatewayd: not reloaded: agent.py: SyntaxError\n"
    (folder / "langgraph.json").write_text("{")
    assert cli.main(["reload"]) == 78
    assert "not valid JSON" in capsys.readouterr().err
