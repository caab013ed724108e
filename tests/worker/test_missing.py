"""What to install when a module is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from gatewayd.worker.project import missing, usercode


def failure(module: str) -> usercode.LoadError:
    error = usercode.LoadError("./graph.py:graph", "ModuleNotFoundError", "agent")
    error.__cause__ = usercode.LoadError("./graph.py:graph", "ModuleNotFoundError")
    error.__cause__.__cause__ = ModuleNotFoundError(f"No module named '{module}'", name=module)
    return error


@pytest.mark.parametrize(
    ("module", "hint"),
    [
        ("helpers", " (hint: pip install -e ./libs/flat)"),
        ("helpers.deep", " (hint: pip install -e ./libs/flat)"),
        ("inner", " (hint: pip install -e ./libs/src_layout)"),
        ("named_otherwise", " (hint: pip install -e ./libs/empty)"),
        ("langchain_openai", " (hint: pip install langchain-openai)"),
        ("no_project", ""),
        ("unknown", ""),
    ],
)
def test_a_missing_module_is_hinted_at_if_the_dependencies_have_it(
    tmp_path: Path, module: str, hint: str
) -> None:
    for file, text in {
        "flat/pyproject.toml": "[project]\nname = 'other'",
        "flat/helpers/__init__.py": "",
        "src_layout/setup.py": "",
        "src_layout/src/inner.py": "",
        "empty/pyproject.toml": '[project]\nname = "Named.Otherwise"',
        "bare/no_project/__init__.py": "",
    }.items():
        (tmp_path / "libs" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "libs" / file).write_text(text)
    dependencies = [
        "./libs/flat",
        "./libs/src_layout",
        "./libs/empty",
        "./libs/bare",
        "langchain-openai[x]>=1",
    ]
    assert missing.hint(failure(module), tmp_path, dependencies) == hint


def test_other_failures_get_no_hint(tmp_path: Path) -> None:
    error = usercode.LoadError("./graph.py:graph", "ValueError")
    error.__cause__ = ValueError("no")
    assert missing.hint(error, tmp_path, ["."]) == ""
    assert missing.hint(usercode.LoadError("./graph.py:graph", "no such file"), tmp_path, ["."]) == ""
