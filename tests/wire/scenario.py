"""The register of scenarios: what is asked of both servers."""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable
from typing import Final

from tests.wire.conversation import Conversation

Scenario = Callable[[Conversation], Awaitable[None]]

MODULES: Final = (
    "asked_of_resources",
    "asked_of_assistants",
    "asked_of_threads",
    "asked_of_operations",
    "asked_of_runs",
    "asked_of_streams",
    "asked_of_crons",
    "asked_of_modes",
    "asked_of_readers",
    "asked_of_protocol",
    "asked_of_sockets",
    "asked_of_search",
    "asked_of_store",
)
"""Where the scenarios are."""
ALL: Final[dict[str, Scenario]] = {}
"""By name; a recording has the same name."""


def scenario(function: Scenario) -> Scenario:
    """Put a scenario into the register."""
    ALL[function.__name__] = function
    return function


def load() -> dict[str, Scenario]:
    """Return all scenarios."""
    for module in MODULES:
        importlib.import_module(f"tests.wire.{module}")
    return ALL
