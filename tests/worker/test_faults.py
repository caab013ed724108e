"""What clients are told of an exception."""

import asyncio
import json

import pytest
from langgraph.errors import EmptyInputError, GraphRecursionError, InvalidUpdateError
from pydantic import BaseModel, ValidationError

from gatewayd.errors import Conflict
from gatewayd.worker.project import faults, graphs


class Model(BaseModel):
    a: int


class OwnValueError(ValueError):
    pass


class Own(Exception):
    pass


class Unreadable(ValueError):
    def __str__(self) -> str:
        raise OSError("can't")


def invalid() -> ValidationError:
    try:
        Model(a="x")  # type: ignore[arg-type]
    except ValidationError as error:
        return error
    raise AssertionError("pydantic took it")


@pytest.mark.parametrize(
    "exc",
    [
        ValueError("v"),
        OwnValueError("v"),
        KeyError("k"),
        TypeError("t"),
        AttributeError("a"),
        RuntimeError("r"),
        RecursionError("r"),
        NotImplementedError("n"),
        TimeoutError("t"),
        json.JSONDecodeError("j", "doc", 0),
        invalid(),
        InvalidUpdateError("i"),
        EmptyInputError("e"),
        GraphRecursionError("g"),
        Conflict("c"),
    ],
    ids=lambda exc: type(exc).__name__,
)
def test_the_text_of_these_is_shown(exc: Exception) -> None:
    assert faults.describe(exc) == {"error": type(exc).__name__, "message": str(exc)}


@pytest.mark.parametrize(
    "exc",
    [
        Exception("e"),
        Own("o"),
        AssertionError("a"),
        ZeroDivisionError("z"),
        OSError(2, "no such file", "/secret/path"),
        ConnectionError("c"),
        IndexError("i"),
        LookupError("l"),
        ImportError("i"),
        NameError("n"),
        MemoryError("m"),
        asyncio.CancelledError("c"),
        SystemExit(3),
        KeyboardInterrupt("k"),
    ],
    ids=lambda exc: type(exc).__name__,
)
def test_the_text_of_these_is_masked_unless_all_is_to_be_shown(exc: BaseException) -> None:
    name = type(exc).__name__
    assert faults.describe(exc) == {"error": name, "message": "An internal error occurred"}
    assert faults.describe(exc, full=True) == {"error": name, "message": str(exc)}


def test_a_group_speaks_through_its_first_member() -> None:
    group = BaseExceptionGroup("outer", [ExceptionGroup("inner", [KeyError("k"), ValueError("v")]), Own("o")])
    assert faults.describe(group) == {"error": "KeyError", "message": "'k'"}


def test_a_graph_that_is_none_is_told_under_the_references_name() -> None:
    assert faults.describe(graphs.InvalidGraph("g", None)) == {
        "error": "HTTPException",
        "message": "424: Graph 'g' is not valid. Review graph registration. None",
    }


def test_an_exception_without_a_readable_text_is_still_described() -> None:
    assert faults.describe(Unreadable()) == {
        "error": "Unreadable",
        "message": "(its message can't be read: OSError)",
    }


def test_a_long_text_is_not_cut() -> None:
    assert faults.describe(ValueError("x" * 3000))["message"] == "x" * 3000
