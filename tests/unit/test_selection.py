"""Parts of states."""

from __future__ import annotations

from typing import Any

import pytest

from gatewayd.model import selection

STATE: dict[str, Any] = {name: name for name in selection.FIELDS} | {"values": {"a": 1, "b.c": 2}}


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        ([], STATE),
        (["next", "created_at"], {"next": "next", "created_at": "created_at"}),
        (["values.a"], {"values": {"a": 1}}),
        (["values.b.c", "values.a", "values.a"], {"values": {"a": 1, "b.c": 2}}),
        (["values.missing", "next"], {"next": "next", "values": {}}),
        (["values", "values.a"], {"values": STATE["values"]}),
    ],
)
def test_what_is_named_is_shown(names: list[str], shown: dict[str, Any]) -> None:
    assert selection.selected(STATE, names) == shown
    assert all(map(selection.known, names))


def test_a_state_that_is_no_object_has_no_values_by_name() -> None:
    assert selection.selected({**STATE, "values": [1, 2]}, ["values.a"]) == {"values": {}}


def test_only_parts_of_a_state_are_known() -> None:
    assert not any(map(selection.known, ["", "colour", "values.", "tasks.0"]))
