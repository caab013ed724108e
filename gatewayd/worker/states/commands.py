"""Commands as the wire spells them, as langgraph's."""

from __future__ import annotations

from typing import Any

from langgraph.types import Command, Send


def command_of(command: dict[str, Any]) -> Command[Any]:
    """Make langgraph's command of the wire's."""
    known = ("resume", "update", "goto")
    fields = {key: value for key, value in command.items() if key in known and value is not None}
    if "goto" in fields:
        goto = fields["goto"]
        fields["goto"] = [_target(target) for target in goto] if isinstance(goto, list) else _target(goto)
    if isinstance(fields.get("update"), list):
        fields["update"] = [tuple(pair) for pair in fields["update"]]
    return Command(**fields)


def _target(goto: Any) -> Any:
    return Send(goto["node"], goto.get("input")) if isinstance(goto, dict) else goto
