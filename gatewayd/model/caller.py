"""Whose an operation on user data is: every one of them takes its caller first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from attrs import frozen


@frozen(kw_only=True)
class Caller:
    """
    Who asks for something, and what of the data is theirs.

    The API makes it of the request; what the daemon does by itself, by the clock or after a restart, is
    `INTERNAL`. There is no authentication yet: each request is `ANONYMOUS`, and sees all. A `filter` is for
    storage to apply, in the statement that reads or changes a row and never on what it has returned.
    """

    identity: str | None
    """The name of the user; None: there is none."""
    role: Literal["internal", "anonymous", "user"]
    permissions: frozenset[str] = frozenset()
    filter: Mapping[str, Any] | None = None
    """What the metadata of a row must contain; None: it may be any."""


INTERNAL: Final = Caller(identity=None, role="internal")
"""The daemon itself."""
ANONYMOUS: Final = Caller(identity=None, role="anonymous")
"""A request of a server that has no authentication."""
