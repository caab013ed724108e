"""Where an input may land: never between a tool call and its answer."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from gatewayd.worker.runs import merging

CALLS: Any = [{"name": "look", "args": {}, "id": each, "type": "tool_call"} for each in ("one", "two")]
HUMAN, AI, CALLING = HumanMessage("a"), AIMessage("b"), AIMessage("", tool_calls=CALLS)
ONE, TWO = ToolMessage("x", tool_call_id="one"), ToolMessage("y", tool_call_id="two")
PLAIN = {"role": "assistant", "content": "", "tool_calls": [{"id": "one", "function": {}}]}


@pytest.mark.parametrize(
    ("messages", "waits"),
    [
        ([], False),
        ([HUMAN, AI], False),
        ([HUMAN, CALLING], True),
        ([HUMAN, CALLING, ONE], True),
        ([HUMAN, CALLING, TWO, ONE], False),
        ([HUMAN, CALLING, ONE, TWO, AI], False),
        ([PLAIN], True),
        ([PLAIN, {"role": "tool", "tool_call_id": "one"}], False),
        (["a text", 1, None], False),
        ({"not": "a list"}, True),
        (None, True),
    ],
)
def test_a_call_waits_until_each_of_its_answers_is_there(messages: Any, waits: bool) -> None:
    assert merging.waits_for_tool({"messages": messages}, "messages") is waits


@pytest.mark.parametrize("values", [None, {}, {"other": []}, [HUMAN]])
def test_a_state_that_does_not_show_its_messages_may_have_some_that_wait(values: Any) -> None:
    assert merging.waits_for_tool(values, "messages")
