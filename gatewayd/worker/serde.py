"""How states are serialised and encrypted: by the project's ``checkpointer.serde`` and the key in the environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from gatewayd.blobs.seal import VARIABLE, Locked, Seal
from gatewayd.channel import orders
from gatewayd.checkpointing import pieces, sql
from gatewayd.errors import BadConfiguration
from gatewayd.worker import reader


def opened(configuration: orders.Configuration, environ: Mapping[str, str]) -> reader.Reader:
    """Return the reader of the worker's database. Raises `BadConfiguration` if its states can't be read with the key."""
    key = environ.get(VARIABLE, "").encode()
    seal = Seal(key) if key else None
    made = reader.Reader(configuration.database, serde=serialiser(configuration.serde), seal=seal)
    try:
        for statement in sql.NEWEST.values():
            for kind, version, column in made.fetch(statement):
                pieces.prove(kind, version, column, seal)
    except Locked as error:
        made.close()
        raise BadConfiguration(f"{configuration.database}: {error}") from error
    return made


def serialiser(options: Mapping[str, Any]) -> JsonPlusSerializer:
    """Return langgraph's serialiser with the options of ``checkpointer.serde`` that are given."""
    return JsonPlusSerializer(**{name: _hashable(option) for name, option in options.items()})


def _hashable(option: Any) -> Any:
    return [tuple(symbol) for symbol in option] if isinstance(option, list) else option
