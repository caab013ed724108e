"""The body of a webhook: the run as the API shows it, with its end, its error and its final values."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Any

from gatewayd import wire
from gatewayd.model.run import Run
from gatewayd.model.webhook import Delivery

SECRETS = ("langgraph_auth_user",)
"""Keys of `configurable` that only the graph may see."""

INTERRUPT = "__interrupt__"


def build(delivery: Delivery, values: bytes | None, show: Callable[[Run], dict[str, Any]], now: int) -> bytes:
    """
    Return the body; `values` is the JSON of a run's result or of its thread's values, `show` the API's view.
    """
    run = delivery.run
    body = show(run)
    body["status"] = delivery.status
    body["kwargs"] = _without_secrets(body["kwargs"])
    body |= {
        "run_started_at": None if run.started_at is None else wire.iso(run.started_at),
        "run_ended_at": wire.iso(delivery.created_at),
        "webhook_sent_at": wire.iso(now),
        "values": _values(values),
    }
    body.pop("error", None)  # the record's; a cancelled run has an error for its receiver only
    if delivery.error is not None:
        body["error"] = delivery.error
    return wire.dumps(body)


def _without_secrets(kwargs: dict[str, Any]) -> dict[str, Any]:
    config = kwargs.get("config") or {}
    configurable = {k: v for k, v in (config.get("configurable") or {}).items() if k not in SECRETS}
    return {**kwargs, "config": {**config, "configurable": configurable}}


def _values(values: bytes | None) -> Any:
    state = None if values is None else wire.loads(values)
    if isinstance(state, dict) and INTERRUPT in state:
        return {name: value for name, value in state.items() if name != INTERRUPT}
    return state


def signature(secret: str, body: bytes, now_s: int) -> str:
    """Return ``t=<seconds>,v1=<hex>``: HMAC-SHA256, by the secret, of ``<seconds>.<body>``."""
    digest = hmac.new(secret.encode(), b"%d.%b" % (now_s, body), hashlib.sha256).hexdigest()
    return f"t={now_s},v1={digest}"
