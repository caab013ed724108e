"""
What setup.cfg says agrees with the tree: its lists are written by hand, because discovery would miss
`migrations`.
"""

from __future__ import annotations

import configparser
import json
import os
import shutil
import socket
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import gatewayd

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read_string((ROOT / "setup.cfg").read_text("utf-8"))
    return parser


def requirements(setup: configparser.ConfigParser) -> dict[str, Requirement]:
    lines = setup["options"]["install_requires"].split("\n")
    return {found.name: found for line in lines if line for found in [Requirement(line)]}


def test_each_package_of_the_tree_is_listed_and_no_other(setup: configparser.ConfigParser) -> None:
    listed = setup["options"]["packages"].split()
    found = {
        ".".join(init.parent.relative_to(ROOT).parts) for init in (ROOT / "gatewayd").rglob("__init__.py")
    }

    assert listed == sorted(listed)
    assert set(listed) == found | {"gatewayd.migrations"}


def test_no_module_stands_in_a_folder_without_init() -> None:
    lost = [path for path in (ROOT / "gatewayd").rglob("*.py") if not (path.parent / "__init__.py").exists()]

    assert lost == []


def test_migrations_lie_at_the_top_level_without_python_files() -> None:
    assert list((ROOT / "migrations").rglob("*.sql"))
    assert list((ROOT / "migrations").rglob("*.py")) == []


def test_the_langgraph_range_starts_where_each_question_has_its_own_id_and_ends_before_the_next_minor(
    setup: configparser.ConfigParser,
) -> None:
    allowed = requirements(setup)["langgraph"].specifier

    assert "1.2.20" in allowed
    assert "1.2.19" not in allowed
    assert "1.3.0" not in allowed


def test_metadata_stand_in_setup_cfg_only() -> None:
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))

    assert "project" not in tools
    assert not (ROOT / "setup.py").exists()


def test_changes_name_the_present_version() -> None:
    assert f"\n{gatewayd.__version__} " in (ROOT / "CHANGES.rst").read_text("utf-8")


@pytest.mark.parametrize(
    "script", ["scripts/serve", "scripts/test", "scripts/check", "scripts/venv", ".ci/run"]
)
def test_scripts_can_be_called_and_parsed(script: str) -> None:
    path = ROOT / script
    shell = path.read_text("utf-8").splitlines()[0].removeprefix("#!").split()

    assert os.access(path, os.X_OK)
    subprocess.run([*shell, "-n", path], check=True)


def test_a_port_that_is_in_use_is_told_before_anything_is_installed(tmp_path: Path) -> None:
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    shutil.copy(ROOT / "scripts" / "serve", scripts)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = subprocess.run(
            [scripts / "serve", "--port", str(port)], capture_output=True, text=True, check=False
        )

    assert refused.returncode == 1
    assert f"can't listen on 127.0.0.1:{port}" in refused.stderr
    assert "--port" in refused.stderr, "and not that scripts/venv is missing here"


def test_ci_runs_both_scripts() -> None:
    commands = (ROOT / ".ci" / "run").read_text("utf-8").splitlines()

    assert {"scripts/check", "scripts/test --all"} <= set(commands)


def test_the_sample_is_a_plain_project_whose_files_exist() -> None:
    folder = ROOT / "gatewayd" / "sample"
    project = json.loads((folder / "langgraph.json").read_text("utf-8"))

    assert set(project["graphs"]) == {"agent", "approval", "walk"}
    for graph in project["graphs"].values():
        path, attribute = graph["path"].split(":")
        assert (folder / path).is_file()
        assert attribute == "graph"
