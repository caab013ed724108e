"""The official JavaScript client, unmodified, under Node against a real server."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

PACKAGE = "@langchain/langgraph-sdk@1.15.0"
SCRIPT = Path(__file__).with_name("client.mjs")
COUNTED = {"left": 0, "seen": ["tick 2", "tick 1"]}


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("node") is None or shutil.which("npm") is None, reason="Node is not installed"
)
def test_it_streams_joins_waits_answers_and_cancels(served: str, tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text('{"private": true}')
    install = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline", PACKAGE]
    installed = subprocess.run(
        install, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=100
    )
    assert installed.returncode == 0, installed.stderr
    script = shutil.copy(SCRIPT, tmp_path)
    answer = subprocess.run(
        ["node", script, served], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout) == {
        "created": True,
        "events": ["metadata", "values", "custom", "updates", "values", "custom", "updates", "values"],
        "joined": True,
        "rest": True,
        "waited": {"left": 0, "seen": ["tick 2", "tick 1", "tick 1"]},
        "stateless": COUNTED,
        "failed": "ValueError: bad value",
        "asked": [{"about": "tea"}],
        "answered": {"topic": "tea", "reply": "green", "closed": True},
        "cancelled": ["metadata", "custom"],
        "status": ["interrupted", "interrupted"],
        "refused": 404,
        "found": 1,
        "states": 3,
    }
