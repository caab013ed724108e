"""Webhooks: what the operator allows, and what is owed to a receiver."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from attrs import field, frozen

from gatewayd.model.run import Run

HIDDEN: Final = "***"
"""Stands for a secret of a URL in logs and answers."""

DeliveryState = Literal["owed", "delivered", "dead"]


@frozen(kw_only=True)
class WebhookRules:
    """The section ``webhooks`` of langgraph.json."""

    require_https: bool = False
    """In the file: true as soon as there is a `url` object."""
    allowed_domains: tuple[str, ...] = ()
    """Hosts, or ``*.example.com`` for those below; empty: any. A host named here may be this machine."""
    allowed_ports: tuple[int, ...] = ()
    """Empty: any."""
    max_url_length: int = 65_536
    loopback: bool = False
    """Whether receivers may be on this machine (`disable_loopback` is false)."""
    headers: Mapping[str, str] = field(factory=dict)
    """Sent with every webhook."""
    sent: bool = True
    """False (`http.disable_webhooks`): runs that ask for a webhook are accepted, and nothing is sent."""


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
    """As it was when it had ended, without its result."""
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
"""What readers of URLs leave out, even between the slashes."""


def without_secrets(url: str) -> str:
    """
    Return a URL as logs and answers show it: user and password, the values of the query and the fragment are
    hidden.

    It works on the text alone, so that there is no URL for which it fails.
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
