"""The register of scenarios: what is asked of both servers. Their modules are named `asked_…`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from tests.wire.conversation import Conversation

Scenario = Callable[[Conversation], Awaitable[None]]

ALL: Final[dict[str, Scenario]] = {}
"""By name; a recording has the same name."""


def scenario(function: Scenario) -> Scenario:
    """Put a scenario into the register."""
    ALL[function.__name__] = function
    return function
