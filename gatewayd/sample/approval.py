"""The graph `approval`: it proposes an action, waits until a person has answered, and does it or leaves it.

Input `{"action": "send the invoice"}`; the run ends at the question and its thread waits, for seconds or
weeks. Resume with `{"approved": true}`, or `{"approved": false, "note": "not yet"}`; plain `true` and `false`
will do.
"""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt


class Proposal(TypedDict):
    """What is proposed, and what became of it."""

    action: str
    approved: NotRequired[bool]
    note: NotRequired[str]
    outcome: NotRequired[str]


async def ask(state: Proposal) -> dict[str, Any]:
    """Put the question; goes on when it has been answered."""
    answer = interrupt({"question": f"Shall I {state['action']}?", "action": state["action"]})
    if isinstance(answer, dict):
        return {"approved": answer.get("approved") is True, "note": str(answer.get("note", ""))}
    return {"approved": answer is True, "note": ""}


async def act(state: Proposal) -> dict[str, Any]:
    """Do it (in this sample: say so)."""
    return {"outcome": f"done: {state['action']}"}


async def leave(state: Proposal) -> dict[str, Any]:
    """Leave it undone, with the reason if one was given."""
    reason = f" ({note})" if (note := state.get("note")) else ""
    return {"outcome": f"left: {state['action']}{reason}"}


def decide(state: Proposal) -> str:
    """Which way the answer leads."""
    return "act" if state.get("approved") else "leave"


builder = StateGraph(Proposal)
builder.add_node("ask", ask)
builder.add_node("act", act)
builder.add_node("leave", leave)
builder.add_edge(START, "ask")
builder.add_conditional_edges("ask", decide, ["act", "leave"])
builder.add_edge("act", END)
builder.add_edge("leave", END)
graph = builder.compile()
