"""Each option of ``checkpointer.serde`` changes what can be stored, or what stored data may become."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from gatewayd.worker.states import encoding, serde


@dataclass
class Thing:
    """A class that langgraph does not know."""

    words: str = ""


MODULE = Thing.__module__


def packed(thing: Any) -> tuple[str, bytes]:
    return serde.serialiser({}).dumps_typed(thing)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, Thing("a")),
        ({"allowed_msgpack_modules": True}, Thing("a")),
        ({"allowed_msgpack_modules": [[MODULE, "Thing"]]}, Thing("a")),
        ({"allowed_msgpack_modules": [[MODULE, "Other"]]}, {"words": "a"}),
        ({"allowed_msgpack_modules": None}, {"words": "a"}),
    ],
)
def test_msgpack_data_become_objects_of_allowed_classes_only(options: Any, expected: Any) -> None:
    assert serde.serialiser(options).loads_typed(packed(Thing("a"))) == expected


CALL = {"lc": 2, "type": "constructor", "id": [*MODULE.split("."), "Thing"], "kwargs": {"words": "a"}}


@pytest.mark.parametrize(
    ("options", "made"),
    [
        ({}, False),
        ({"allowed_json_modules": None}, False),
        ({"allowed_json_modules": [["other", "Thing"]]}, False),
        ({"allowed_json_modules": [[*MODULE.split("."), "Thing"]]}, True),
        ({"allowed_json_modules": True}, True),
    ],
)
def test_json_data_become_objects_of_allowed_classes_only(options: Any, made: bool) -> None:
    found = serde.serialiser(options).loads_typed(("json", json.dumps(CALL).encode()))
    assert (found == Thing("a")) is made


class Opaque:
    """Nothing but pickle knows what it is made of."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Opaque)

    __hash__ = None  # type: ignore[assignment]


def test_pickle_stores_what_nothing_else_can_if_it_is_allowed() -> None:
    kind, data = serde.serialiser({"pickle_fallback": True}).dumps_typed(Opaque())
    assert kind == "pickle"
    assert serde.serialiser({"pickle_fallback": True}).loads_typed((kind, data)) == Opaque()
    for options in ({}, {"pickle_fallback": False}):
        with pytest.raises(encoding.Unstorable):
            serde.serialiser(options).dumps_typed(Opaque())
        with pytest.raises(NotImplementedError):  # langgraph's word for a type that it does not read
            serde.serialiser(options).loads_typed((kind, data))
