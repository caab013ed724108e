"""
What a receiver is sent: the run as the API shows it, with its end, its error and the values it has left.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Any

from gatewayd import wire
from gatewayd.model.run import Run
from gatewayd.model.webhook import Delivery

SECRETS = ("langgraph_auth_user",)
"""Keys of `configurable` that are nobody's business but the graph's."""

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
    body.pop("error", None)  # that of the record; a cancelled run has one for its receiver only
    if delivery.error is not None:
        body["error"] = delivery.error
    return wire.dumps(body)


def _without_secrets(kwargs: dict[str, Any]) -> dict[str, Any]:
    config = kwargs.get("config") or {}
    configurable = {k: v for k, v in (config.get("configurable") or {}).items() if k not in SECRETS}
    return {**kwargs, "config": {**config, "configurable": configurable}}


def _values(values: bytes | None) -> Any:
    found = None if values is None else wire.loads(values)
    if isinstance(found, dict) and INTERRUPT in found:
        return {name: value for name, value in found.items() if name != INTERRUPT}
    return found


def signature(secret: str, body: bytes, now_s: int) -> str:
    """Return ``t=<seconds>,v1=<hex>``: HMAC-SHA256, by the secret, of ``<seconds>.<body>``."""
    digest = hmac.new(secret.encode(), b"%d.%b" % (now_s, body), hashlib.sha256).hexdigest()
    return f"t={now_s},v1={digest}"
