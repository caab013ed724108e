"""Rows of assistants: their versions, and what a project without a graph does to them."""

from __future__ import annotations

from typing import Any

import pytest

from gatewayd import ids
from gatewayd.errors import Conflict, NotFound
from gatewayd.model.assistant import Assistant, AssistantChange
from gatewayd.storage import store

THEIRS = "0a0a0a0a-0000-4000-8000-0000000000aa"


def make(desk: Any, **fields: Any) -> Assistant:
    given: dict[str, Any] = {
        "assistant_id": THEIRS,
        "graph_id": "chat",
        "name": "theirs",
        "description": None,
        "config": {"configurable": {"a": 1}},
        "context": {"a": 1},
        "metadata": {"m": 1},
        "version": 1,
        "created_at": desk.tick(),
        "updated_at": desk.now,
    }
    return desk.ask.assistant_create(Assistant(**given | fields), do_nothing=False)


def versions(desk: Any, assistant_id: str = THEIRS) -> list[tuple[Any, ...]]:
    found = desk.ask.assistant_versions(assistant_id, metadata={}, limit=100, offset=0)
    return [(each.version, each.graph_id, each.name) for each in reversed(found)]


def test_every_change_is_a_version_even_one_of_nothing(desk: Any) -> None:
    made = make(desk)
    same = desk.ask.assistant_patch(THEIRS, AssistantChange(), desk.tick())
    assert (same.version, same.name, same.created_at) == (2, made.name, made.created_at)
    assert same.updated_at > made.updated_at
    change = AssistantChange(graph_id="other", name="new", metadata={"n": 2})
    changed = desk.ask.assistant_patch(THEIRS, change, desk.tick())
    assert (changed.version, changed.metadata, changed.config) == (3, {"m": 1, "n": 2}, made.config)
    assert desk.ask.assistant_get(THEIRS) == changed
    assert versions(desk) == [(1, "chat", "theirs"), (2, "chat", "theirs"), (3, "other", "new")]


def test_an_older_version_comes_back_whole_and_the_next_change_has_a_new_number(desk: Any) -> None:
    made = make(desk)
    change = AssistantChange(
        graph_id="other", name="new", description="d", config={"tags": ["t"]}, context={}
    )
    desk.ask.assistant_patch(THEIRS, change, desk.tick())
    back = desk.ask.assistant_version_set(THEIRS, 1, desk.tick())
    assert back == desk.ask.assistant_get(THEIRS)
    assert (back.version, back.graph_id, back.name, back.description) == (1, "chat", "theirs", None)
    assert (back.config, back.context, back.created_at) == (made.config, made.context, made.created_at)
    after = desk.ask.assistant_patch(THEIRS, AssistantChange(name="last"), desk.tick())
    assert (after.version, after.graph_id) == (3, "chat")
    for missing in (99, 0, None):
        with pytest.raises(NotFound, match=f"Version {missing} not found for assistant {THEIRS}"):
            desk.ask.assistant_version_set(THEIRS, missing, desk.tick())


def test_an_id_that_is_taken_is_a_conflict_or_left_as_it_is(desk: Any) -> None:
    made = make(desk)
    with pytest.raises(Conflict, match="already exists"):
        make(desk, name="again")
    again = Assistant(**{name: getattr(made, name) for name in Assistant.__slots__ if name != "__weakref__"})
    assert desk.ask.assistant_create(again, do_nothing=True) == made
    assert versions(desk) == [(1, "chat", "theirs")]


def test_what_is_deleted_takes_versions_and_crons_with_it(desk: Any) -> None:
    make(desk)
    cron = desk.cron(assistant_id=THEIRS)
    desk.ask.assistant_delete(THEIRS)
    assert versions(desk) == []
    assert desk.ask.cron_find(cron.cron_id) is None
    for gone in (
        lambda: desk.ask.assistant_delete(THEIRS),
        lambda: desk.ask.assistant_patch(THEIRS, AssistantChange(), desk.tick()),
        lambda: desk.ask.assistant_version_set(THEIRS, 1, desk.tick()),
    ):
        with pytest.raises(NotFound):
            gone()


def test_a_system_assistant_that_was_deleted_is_there_again_at_the_next_start(desk: Any) -> None:
    desk.ask.assistant_delete("chat")
    assert desk.ask.assistant_get("chat") is None
    desk.ask.system_assistants_sync({"chat": None, "other": None}, desk.tick())
    found = desk.ask.assistant_get("chat")
    assert found is not None
    assert found.version == 1
    assert versions(desk, ids.system_assistant_id("chat")) == [(1, "chat", "chat")]


def test_descriptions_of_the_project_reach_assistants_that_no_client_has_changed(desk: Any) -> None:
    change = AssistantChange(description="by hand")
    desk.ask.assistant_patch("other", change, desk.tick())
    told = {"chat": "talks", "other": "does else"}
    for _ in range(2):
        desk.ask.system_assistants_sync(told, desk.tick())
    chat, other = (desk.ask.assistant_get(graph_id) for graph_id in told)
    assert chat is not None
    assert (chat.description, chat.version) == ("talks", 1)
    assert other is not None
    assert (other.description, other.version) == ("by hand", 2)
    first = desk.ask.assistant_version_set("chat", 1, desk.tick())
    assert first.description == "talks"


def test_assistants_of_a_graph_that_is_gone_are_hidden_until_it_is_back(desk: Any) -> None:
    made = make(desk)
    run_id = desk.create(desk.thread(), assistant=THEIRS)
    desk.ask.system_assistants_sync({"other": None}, desk.tick())
    assert desk.ask.assistant_get(THEIRS) is None
    assert desk.ask.assistant_get("chat") is None
    assert desk.ask.assistants_count(store.AssistantSearch(metadata={})) == 1
    with pytest.raises(NotFound):
        desk.create(desk.thread(), assistant=THEIRS)
    with pytest.raises(Conflict):  # nor can another take its id meanwhile
        make(desk, graph_id="other")
    assert desk.run(run_id).assistant_id == THEIRS
    desk.ask.system_assistants_sync({"chat": None, "other": None}, desk.tick())
    assert desk.ask.assistant_get(THEIRS) == made


def test_a_cron_outlives_the_absence_of_its_assistants_graph(desk: Any) -> None:
    cron = desk.cron(assistant_id="chat")
    desk.ask.system_assistants_sync({"other": None}, desk.tick())
    fired = desk.fire(cron)
    assert (fired.created, fired.deleted) == (None, False)
    assert "not found" in fired.refusal
    desk.ask.system_assistants_sync({"chat": None, "other": None}, desk.tick())
    assert desk.ask.cron_find(cron.cron_id) is not None
