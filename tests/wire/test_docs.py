"""The page that describes the API, in a real browser that has no way to anywhere else."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("reference"),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium"),
]


def test_the_page_shows_every_operation_and_opens_the_one_it_is_asked_for(
    served: str, tmp_path: Path
) -> None:
    assert CHROMIUM is not None
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}"]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--virtual-time-budget=20000"]
    shown = subprocess.run(
        [*command, "--dump-dom", f"{served}/docs#put_item"],
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    ).stdout
    document = json.load(urllib.request.urlopen(f"{served}/openapi.json", timeout=30))
    ids = {each["operationId"] for methods in document["paths"].values() for each in methods.values()}
    operations = re.findall(r'<details class="operation" id="([^"]+)"( open="")?>', shown)
    assert {identifier for identifier, _ in operations} == ids
    assert [identifier for identifier, is_open in operations if is_open] == ["put_item"]
    assert "namespace" in shown
