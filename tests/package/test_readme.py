"""Every block of commands in the README and the manual is pasted as it stands (but for the port) and does
what is said beside it.

A block that no test here knows fails the first test, so that neither can get ahead of the program.
"""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from docutils import nodes
from docutils.core import publish_doctree

import gatewayd
from gatewayd import cli, manual, project, settings
from tests.package.conftest import Server

ROOT = Path(__file__).parents[2]
ADDRESS = "http://127.0.0.1:2024"
README = (ROOT / "README.rst").read_text("utf-8")

BLOCKS = {
    "store": '"store": {',
    "install": "pip install .",
    "serve": "scripts/serve",
    "curl": "curl -N",
    "approval": '"approval"',
    "walk": '"walk"',
    "own project": "path/to/langgraph.json",
    "backup": "cp -R",
    "development": "scripts/test",
}
"""What each block is recognised by; the last one is run by `.ci/run`, which test_metadata looks after."""

slow = [pytest.mark.slow, pytest.mark.timeout(400)]
pytestmark = pytest.mark.xdist_group("readme")  # one fresh environment for all


@functools.cache
def blocks() -> dict[str, str]:
    """
    The blocks by the names of `BLOCKS`; those that none of them fits have their own text as name.
    """
    found = {}
    for page in (README, *map(manual.page, manual.TOPICS)):
        for block in parsed(page).findall(nodes.literal_block):
            text = block.astext()
            found[next((name for name, sign in BLOCKS.items() if sign in text), text)] = text
    return found


def parsed(page: str) -> nodes.document:
    return publish_doctree(page, settings_overrides={"report_level": 2, "halt_level": 2})


@pytest.fixture(scope="module")
def served(start: Callable[..., Server], checkout: Path, env: dict[str, str]) -> Server:
    """The sample, served by the README's own command in a fresh clone, for somebody with a fresh home."""
    return start(["sh", "-c", "exec " + blocks()["serve"]], cwd=checkout, env=env)


def pasted(name: str, server: Server) -> str:
    text = blocks()[name]
    assert ADDRESS in text
    return text.replace(ADDRESS, server.url)


def shell(text: str, *, cwd: Path, env: dict[str, str]) -> str:
    run = subprocess.run(
        ["sh", "-e", "-c", text], check=False, cwd=cwd, env=env, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_the_store_of_the_manual_is_one_that_a_project_may_have(tmp_path: Path) -> None:
    (tmp_path / "agent.py").touch()
    file = tmp_path / "langgraph.json"
    file.write_text(f'{{"graphs": {{"agent": "./agent.py:graph"}}, {blocks()["store"]}}}')

    served = project.read(file)

    assert not served.warnings
    assert served.store_index is not None
    assert served.store_index.fields == ("text", "meta.title")
    assert served.store_ttl.default_ttl == 43200


def test_each_block_has_its_test() -> None:
    assert set(blocks()) == set(BLOCKS)


def test_the_readme_is_a_visiting_card() -> None:
    assert len(README.splitlines()) <= 160


@pytest.mark.parametrize("topic", manual.TOPICS)
def test_each_page_of_the_manual_is_sound_and_printed_by_help(
    topic: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert parsed(manual.page(topic)).astext()
    assert cli.main(["help", topic]) == 0
    assert capsys.readouterr().out == manual.page(topic)


def test_every_page_is_listed_and_named_in_the_readme(capsys: pytest.CaptureFixture[str]) -> None:
    assert {path.stem for path in (ROOT / "gatewayd" / "manual").glob("*.rst")} == set(manual.TOPICS)
    assert cli.main(["help"]) == 0
    listed = capsys.readouterr().out
    assert all(f"  {topic} " in listed and f"*{topic}*" in README for topic in manual.TOPICS)


def test_a_topic_that_there_is_not_is_refused_with_those_that_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["help", "nonsense"])
    assert caught.value.code == 2
    assert "operating" in capsys.readouterr().err


def test_references_between_the_pages_lead_somewhere() -> None:
    texts = [README, *map(manual.page, manual.TOPICS)]
    named = {topic for text in texts for topic in re.findall(r"gatewayd help (\w+)", text)}
    assert named <= manual.TOPICS.keys()


def test_the_settings_page_has_every_setting_once_with_its_default() -> None:
    page = manual.page("settings")
    listed = re.findall(r"^``GATEWAYD_(\w+)``\n((?:   .*\n)+)", page, re.MULTILINE)

    assert [name for name, _ in listed] == [name.upper() for name in settings.Settings.__annotations__]
    for name, lines in listed:
        about = " ".join(lines.split())
        assert "Default: " in about, name
        assert f"GATEWAYD_{name}" in about, name


class TestInstall:
    pytestmark = slow

    def test_three_commands_install_a_program_that_tells_its_version(
        self, checkout: Path, env: dict[str, str]
    ) -> None:
        commands = blocks()["install"].splitlines()

        assert len(commands) == 3
        assert shell("\n".join(commands), cwd=checkout, env=env).endswith(
            f"gatewayd {gatewayd.__version__}\n"
        )


class TestQuickStart:
    pytestmark = slow

    def test_the_curl_line_streams_the_answer(
        self, served: Server, env: dict[str, str], tmp_path: Path
    ) -> None:
        stream = shell(pasted("curl", served), cwd=tmp_path, env=env)
        data = [
            json.loads(line.removeprefix("data: "))
            for line in stream.splitlines()
            if line.startswith("data: ")
        ]
        words = [
            part[0]["content"]
            for part in data
            if isinstance(part, list) and part[0]["type"] == "AIMessageChunk"
        ]

        assert "".join(words).endswith("12 * 34 = 408.")
        assert len(words) > 5

    def test_approval_asks_and_goes_on_with_the_answer(
        self, served: Server, checkout: Path, env: dict[str, str]
    ) -> None:
        printed = python(pasted("approval", served), cwd=checkout, env=env)

        assert "Shall I send the invoice?" in printed[0]
        assert "done: send the invoice" in printed[1]

    def test_walk_prints_each_step_once(self, served: Server, checkout: Path, env: dict[str, str]) -> None:
        printed = python(pasted("walk", served), cwd=checkout, env=env)
        steps = [int(step) for line in printed for step in re.findall(r"'path': \[(\d+)\]", line)]

        assert steps == list(range(1, 21))

    def test_what_the_server_prints_to_try_next_works_as_pasted(
        self, served: Server, env: dict[str, str], tmp_path: Path
    ) -> None:
        (curl,) = [line for line in served.lines if line.startswith("curl ")]
        (script,) = re.findall(
            r"^\S+/python\S* - <<'END'\n.*?^END\n", served.output, re.MULTILINE | re.DOTALL
        )

        assert "408" in shell(curl, cwd=tmp_path, env=env)
        assert len(script.splitlines()) == 2 + 6
        assert "In Oslo it is 4 degrees" in shell(script, cwd=tmp_path, env=env)

    def test_a_project_of_ones_own_is_served_by_the_command(
        self, served: Server, start: Callable[..., Server], checkout: Path, env: dict[str, str]
    ) -> None:
        folder = checkout / "path" / "to"
        shutil.copytree(checkout / "gatewayd" / "sample", folder, ignore=shutil.ignore_patterns("__*"))
        server = start(["sh", "-c", "exec " + blocks()["own project"]], cwd=checkout, env=env)

        assert server.get("/ok")[0] == 200
        assert (folder / ".gatewayd").is_dir()
        assert server.stop() == 0


class TestBackup:
    """The last of the module, because it stops the server of the others."""

    pytestmark = slow

    def test_the_copied_folder_is_served_with_all_that_was_in_it(
        self, served: Server, start: Callable[..., Server], checkout: Path, env: dict[str, str]
    ) -> None:
        made = python(
            "from langgraph_sdk import get_sync_client\n"
            f"print(get_sync_client(url={served.url!r}).threads.create()['thread_id'])\n",
            cwd=checkout,
            env=env,
        )
        assert served.stop() == 0, served.output
        shell(blocks()["backup"], cwd=checkout, env=env)
        again = start(["scripts/serve", "--data-dir", "gatewayd-backup"], cwd=checkout, env=env)

        assert again.get(f"/threads/{made[0]}")[0] == 200
        assert again.stop() == 0


def python(text: str, *, cwd: Path, env: dict[str, str]) -> list[str]:
    """Run a script with the interpreter that the README names; return the printed lines."""
    run = subprocess.run(
        [".venv/bin/python", "-"], input=text, cwd=cwd, env=env, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()
