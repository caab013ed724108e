"""Webhooks: the operator's rules, and deliveries with their attempts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from attrs import field, frozen

from gatewayd.model.run import Run

HIDDEN: Final = "***"
"""Replaces the secrets of a URL in logs and answers."""

DeliveryState = Literal["owed", "delivered", "dead"]


@frozen(kw_only=True)
class WebhookRules:
    """The section ``webhooks`` of langgraph.json."""

    require_https: bool = False
    """In langgraph.json: true by default as soon as there is a `url` object."""
    allowed_domains: tuple[str, ...] = ()
    """Hosts, or ``*.example.com`` for subdomains; empty: any. A host in this list may be this machine."""
    allowed_ports: tuple[int, ...] = ()
    """Empty: any."""
    max_url_length: int = 65_536
    loopback: bool = False
    """Whether receivers may be on this machine (`disable_loopback` is false)."""
    headers: Mapping[str, str] = field(factory=dict)
    """Sent with every webhook."""
    sent: bool = True
    """False (`http.disable_webhooks`): runs may ask for webhooks, but none is sent."""


@frozen(kw_only=True)
class Attempt:
    """One try to deliver a webhook."""

    attempt: int
    started_at: int
    took_us: int
    status: int | None
    """HTTP status; None if there was no answer."""
    error: str | None


@frozen(kw_only=True)
class Delivery:
    """A webhook that is or was owed."""

    delivery_id: str
    url: str
    run: Run
    """The run at its end, without its result."""
    status: str
    """The run's status, or "rollback"."""
    error: dict[str, str] | None
    created_at: int
    state: DeliveryState
    attempts: int
    due_at: int | None
    log: tuple[Attempt, ...] = ()

    @property
    def about(self) -> dict[str, Any]:
        return {
            "fields": {
                "delivery_id": self.delivery_id,
                "run_id": self.run.run_id,
                "url": without_secrets(self.url),
            }
        }


_SKIPPED: Final = dict.fromkeys(map(ord, "\t\r\n"))
"""Characters that URL parsers ignore, even between the slashes."""


def without_secrets(url: str) -> str:
    """
    Return a URL for logs and answers: user, password, the query's values and the fragment are hidden.

    It works on the text without parsing the URL, so that it can't fail.
    """
    url = url.translate(_SKIPPED)
    address, hash_, _ = url.partition("#")
    address, question, query = address.partition("?")
    scheme, colon, rest = address.partition("://")
    authority, slash, path = rest.partition("/")
    _, at, host = authority.rpartition("@")
    shown = f"{scheme}{colon}{HIDDEN}@{host}{slash}{path}" if at else address
    return (
        f"{shown}{question}{'&'.join(map(_without_value, query.split('&')))}{hash_}{HIDDEN if hash_ else ''}"
    )


def _without_value(pair: str) -> str:
    name, equals, value = pair.partition("=")
    if not equals:
        return HIDDEN if name else ""
    return f"{name}={HIDDEN if value else ''}"
