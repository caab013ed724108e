"""Importing "path:attribute"."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gatewayd.errors import BadConfiguration
from gatewayd.worker.project import usercode


@pytest.fixture(autouse=True)
def clean_imports() -> Iterator[None]:
    """Forget what a test imported and put on the path."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.mark.parametrize(
    ("location", "name"),
    [
        ("./src/agent/graph.py", "__src__agent__graph"),
        ("./graph.py", "__graph"),
        ("src/graph.py", "src__graph"),
        ("/srv/app/graph.py", "__srv__app__graph"),
    ],
)
def test_a_file_is_executed_under_the_references_module_name(location: str, name: str) -> None:
    assert usercode.module_name(location) == name


def test_a_class_of_a_file_is_found_again_through_sys_modules(tmp_path: Path) -> None:
    write(tmp_path / "a/made.py", "class Thing: pass\nthing = Thing()\npackage = __package__")
    thing = usercode.load("./a/made.py:thing", tmp_path)
    assert type(thing) is sys.modules["__a__made"].Thing
    assert usercode.load("./a/made.py:package", tmp_path) == ""


def test_a_file_is_executed_once_for_all_its_attributes(tmp_path: Path) -> None:
    write(tmp_path / "once.py", "one = object()\ntwo = one")
    assert usercode.load("./once.py:one", tmp_path) is usercode.load("./once.py:two", tmp_path)


def test_relative_imports_in_a_file_fail_and_absolute_ones_need_the_path(tmp_path: Path) -> None:
    write(tmp_path / "beside.py", "word = 'beside'")
    write(tmp_path / "relative.py", "from .beside import word")
    write(tmp_path / "absolute.py", "from beside import word")
    with pytest.raises(usercode.LoadError, match=r"relative\.py:word: ImportError: .*relative import"):
        usercode.load("./relative.py:word", tmp_path)
    with pytest.raises(
        usercode.LoadError, match=r"ModuleNotFoundError: No module named 'beside' \(absolute\.py:1\)$"
    ):
        usercode.load("./absolute.py:word", tmp_path)
    usercode.extend_path([tmp_path])
    assert usercode.load("./absolute.py:word", tmp_path) == "beside"


def test_a_dotted_module_is_imported_with_its_package(tmp_path: Path) -> None:
    write(tmp_path / "pack_of_test/__init__.py", "")
    write(tmp_path / "pack_of_test/words.py", "word = 'hello'")
    write(tmp_path / "pack_of_test/main.py", "from .words import word")
    usercode.extend_path([tmp_path])
    assert usercode.load("pack_of_test.main:word", tmp_path) == "hello"


def test_extending_the_path_appends_each_folder_once(tmp_path: Path) -> None:
    before = list(sys.path)
    usercode.extend_path([tmp_path, tmp_path])
    usercode.extend_path([tmp_path])
    assert sys.path == [*before, str(tmp_path)]


@pytest.mark.parametrize(
    ("spec_path", "cause"),
    [
        ("./absent.py:x", "no such file"),
        ("./here.py:absent", "no attribute 'absent' in ./here.py"),
        ("./here.py", 'must be "path:attribute"'),
        ("./here.py:", 'must be "path:attribute"'),
        ("./agent.ts:graph", "not a Python file (graphs in other languages are not served)"),
        ("./raises.py:x", "ValueError: first line (raises.py:3)"),
        ("./leaves.py:x", "SystemExit: 3 (leaves.py:1)"),
        ("./syntax.py:x", "SyntaxError: invalid syntax (syntax.py, line 1)"),
        ("./lazy.py:x", "OSError: not now (lazy.py:2)"),
        ("no_such_module_here:x", "ModuleNotFoundError: No module named 'no_such_module_here'"),
    ],
)
def test_what_can_not_be_loaded_is_told_in_one_line(tmp_path: Path, spec_path: str, cause: str) -> None:
    write(tmp_path / "here.py", "x = 1")
    write(tmp_path / "agent.ts", "")
    write(tmp_path / "raises.py", "import json\n\nraise ValueError('first line\\nsecond line')")
    write(tmp_path / "leaves.py", "raise SystemExit(3)")
    write(tmp_path / "syntax.py", "x = = 1")
    write(tmp_path / "lazy.py", "def __getattr__(name):\n    raise OSError('not now')")
    with pytest.raises(usercode.LoadError) as caught:
        usercode.load(spec_path, tmp_path)
    assert caught.value.detail == f"{spec_path}: {cause}"
    assert isinstance(caught.value, BadConfiguration)


def test_a_file_written_without_a_slash_is_told_how_to_write_it(tmp_path: Path) -> None:
    write(tmp_path / "graph.py", "x = 1")
    with pytest.raises(usercode.LoadError, match=r"a file is written with a slash: \./graph\.py"):
        usercode.load("graph.py:x", tmp_path)


def test_a_file_that_failed_leaves_no_half_made_module(tmp_path: Path) -> None:
    write(tmp_path / "half.py", "x = 1\nraise ValueError('no')")
    with pytest.raises(usercode.LoadError):
        usercode.load("./half.py:x", tmp_path)
    assert "__half" not in sys.modules
    write(tmp_path / "half.py", "x = 1  # repaired")
    assert usercode.load("./half.py:x", tmp_path) == 1


def test_two_files_can_not_share_a_module_name(tmp_path: Path) -> None:
    write(tmp_path / "a/b.py", "x = 1")
    write(tmp_path / "a__b.py", "x = 2")
    assert usercode.load("./a/b.py:x", tmp_path) == 1
    with pytest.raises(usercode.LoadError, match=r"its module name '__a__b' is taken by .*a/b\.py"):
        usercode.load("./a__b.py:x", tmp_path)


def test_a_failure_names_the_file_in_which_it_happened_and_its_trace_begins_in_the_project(
    tmp_path: Path,
) -> None:
    write(tmp_path / "top.py", "import json\nfrom lib.deeper import x")
    write(tmp_path / "lib/__init__.py", "")
    write(tmp_path / "lib/deeper.py", "import json\n\ndef read():\n    return json.loads('{')\n\nx = read()")
    usercode.extend_path([tmp_path])
    with pytest.raises(usercode.LoadError) as caught:
        usercode.load("./top.py:x", tmp_path)
    assert caught.value.detail.endswith("(char 1) (lib/deeper.py:4)")
    trace = usercode.trace(usercode.LoadError("./top.py:x", "outer", "agent").with_traceback(None))
    assert trace is None
    trace = usercode.trace(caught.value)
    assert trace is not None
    lines = trace.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert f'File "{tmp_path}/top.py", line 2' in lines[1]
    assert not [line for line in lines if "importlib" in line or "gatewayd" in line]
    assert lines[-1].startswith("json.decoder.JSONDecodeError: ")
