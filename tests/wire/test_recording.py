"""
Recordings of other versions of the reference are kept as far as they differ from the contract, and compared
with it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.wire import recording


def exchange(answer: Any) -> dict[str, Any]:
    return {"ask": "GET /ok", "status": 200, "headers": {}, "answer": answer}


def test_a_version_keeps_what_differs_from_the_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "FOLDER", tmp_path)
    for name in ("same", "other"):
        recording.write(name, [exchange(1)])
        recording.write(name, [exchange(2)], "9.0")
    recording.write("same", [exchange(1)], "9.0")  # recorded again
    recording.write("new", [exchange(3)], "9.0")
    assert sorted(path.name for path in (tmp_path / "9.0").iterdir()) == ["new.json", "other.json"]
    assert recording.read("same", "9.0") == recording.read("same") == [exchange(1)]
    assert (recording.read("other", "9.0"), recording.read("other")) == ([exchange(2)], [exchange(1)])
    (found,) = recording.compared(recording.CONTRACT, "9.0")
    assert found.shown("0.16.7", "9.0") == "other | GET /ok | answer\n    0.16.7: 1\n    9.0: 2"
    assert list(recording.compared("9.0", "9.0")) == []
