"""The arguments of a run: what the API calls its `kwargs`, as they are stored and shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

ORDER: Final = (
    "input",
    "command",
    "config",
    "context",
    "stream_mode",
    "interrupt_before",
    "interrupt_after",
    "webhook",
    "feedback_keys",
    "temporary",
    "subgraphs",
    "resumable",
    "checkpoint_during",
    "durability",
)
"""Their names in the order of the wire. `config` and `context` come from the assistant and the request."""


def of_request(
    *,
    input: Any,  # noqa: A002 the wire's word
    command: dict[str, Any] | None = None,
    stream_mode: Sequence[str],
    interrupt_before: Any = None,
    interrupt_after: Any = None,
    webhook: str | None = None,
    feedback_keys: list[str] | None = None,
    temporary: bool = False,
    subgraphs: bool = False,
    resumable: bool = False,
    checkpoint_during: bool = True,
    durability: str | None = None,
    strict_resume: bool = False,
) -> dict[str, Any]:
    """
    Return the arguments of a run but for `config` and `context`.

    `temporary`: its thread is removed after it. `checkpoint_during` false is the old spelling of durability
    "exit". `strict_resume` is ours: answers to questions that are not open are refused; the reference's
    records don't have it, so it is there only if it is asked for.
    """
    return {
        "input": input,
        "command": command,
        "stream_mode": stream_mode,
        "interrupt_before": interrupt_before,
        "interrupt_after": interrupt_after,
        "webhook": webhook,
        "feedback_keys": feedback_keys,
        "temporary": temporary,
        "subgraphs": subgraphs,
        "resumable": resumable,
        "checkpoint_during": checkpoint_during,
        "durability": durability or ("async" if checkpoint_during else "exit"),
        **({"strict_resume": True} if strict_resume else {}),
    }
