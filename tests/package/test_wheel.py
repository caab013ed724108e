"""The wheel is whole: built, looked into, installed where nothing else is, and served from there."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import gatewayd
from gatewayd import sample
from tests.package.conftest import Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400), pytest.mark.xdist_group("wheel")]


@pytest.fixture(scope="module")
def wheel(checkout: Path, env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made by way of the sdist, as for a release: what the sdist lacks, the wheel lacks."""
    dist = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "build", "--outdir", dist, checkout], check=True, env=env)
    (found,) = dist.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def python(wheel: Path, env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that holds the wheel and what it requires."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, env=env)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", wheel], check=True, env=env)
    return python


def test_the_wheel_contains_the_migrations_the_sample_and_nothing_of_the_tests(
    wheel: Path, checkout: Path
) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    migrations = {
        f"gatewayd/migrations/{path.relative_to(checkout / 'migrations')}"
        for path in (checkout / "migrations").rglob("*.sql")
    }
    pages = {f"gatewayd/manual/{path.name}" for path in (checkout / "gatewayd/manual").glob("*.rst")}
    source = {
        str(path.relative_to(checkout))
        for path in (checkout / "gatewayd").rglob("*")
        if path.suffix in (".py", ".typed")
    }
    data = {
        "gatewayd/api/description/docs.html",
        "gatewayd/sample/langgraph.json",
        "gatewayd/sample/next_steps.txt",
    }

    assert migrations
    assert {name for name in names if ".dist-info/" not in name} == migrations | source | data | pages


def test_the_installed_command_tells_its_version(python: Path, env: dict[str, str], tmp_path: Path) -> None:
    shown = subprocess.run(
        [python.with_name("gatewayd"), "--version"],
        check=True,
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )

    assert shown.stdout == f"gatewayd {gatewayd.__version__}\n"


def test_the_installed_server_serves_the_sample_and_ends_at_sigterm(
    python: Path, env: dict[str, str], tmp_path: Path, start: Callable[..., Server]
) -> None:
    (library,) = python.parents[1].glob("lib/python*/site-packages")
    config = library / "gatewayd" / "sample" / sample.CONFIG.name
    command = [python.with_name("gatewayd"), "serve", "--config", config, "--data-dir", tmp_path / "data"]
    server = start(command, cwd=tmp_path, env=env)

    assert server.get("/ok")[0] == 200
    assert server.stop() == 0, server.output
