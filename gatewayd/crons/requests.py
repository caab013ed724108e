"""The run of a cron, as if a client had sent the cron's payload at this moment.

The payload was checked when it was stored (`api.requests.cron_bodies.CronCreate`); this module brings its
forms to one.
"""

from __future__ import annotations

from typing import Any

from gatewayd.model import arguments
from gatewayd.model.cron import Cron
from gatewayd.model.run import RunRequest


def run_request(cron: Cron, now: int) -> RunRequest:
    """Return the request for the run of a cron."""
    given = {name: value for name, value in cron.payload.items() if value is not None}
    keep = cron.on_run_completed == "keep"
    config = {name: value for name, value in given.get("config", {}).items() if value is not None}
    return RunRequest(
        assistant=cron.assistant_id,
        thread_id=cron.thread_id,
        kwargs=_arguments(given, temporary=cron.thread_id is None and not keep),
        config=config,
        context=given.get("context", {}),
        metadata=cron.metadata,
        multitask_strategy=given.get("multitask_strategy", "enqueue"),
        if_not_exists="reject",
        after_s=0,
        keep_thread=keep,
        request_id=None,
        received_at=now,
        auth_user={"identity": cron.user_id, "is_authenticated": True, "display_name": cron.user_id},
    )


def _arguments(given: dict[str, Any], *, temporary: bool) -> dict[str, Any]:
    modes = given.get("stream_mode") or ["values"]
    return arguments.of_request(
        input=given.get("input"),
        stream_mode=[modes] if isinstance(modes, str) else modes,
        interrupt_before=given.get("interrupt_before"),
        interrupt_after=given.get("interrupt_after"),
        webhook=given.get("webhook"),
        feedback_keys=given.get("feedback_keys"),
        temporary=temporary,
        subgraphs=given.get("stream_subgraphs", False),
        resumable=given.get("stream_resumable", False),
        checkpoint_during=given.get("checkpoint_during", True),
        durability=given.get("durability"),
    )
