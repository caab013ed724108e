"""
How states are serialised and encrypted: by the project's ``checkpointer.serde`` and the key in the
environment.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Mapping
from typing import Any

from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from gatewayd.blobs.seal import VARIABLE, Locked, Seal
from gatewayd.channel import orders
from gatewayd.checkpointing import pieces
from gatewayd.checkpointing.sqlite.reader import SqliteReader
from gatewayd.errors import BadConfiguration
from gatewayd.worker.states import encoding


def opened(configuration: orders.Configuration, environ: Mapping[str, str]) -> SqliteReader:
    """
    Return the reader of the worker's database. Raises `BadConfiguration` if its states can't be read with the
    key.
    """
    key = environ.get(VARIABLE, "").encode()
    seal = Seal(key) if key else None
    made = SqliteReader(configuration.database, serde=serialiser(configuration.serde), seal=seal)
    try:
        for kind, version, value in made.newest():
            pieces.prove(kind, version, value, seal)
    except Locked as error:
        made.close()
        raise BadConfiguration(f"{configuration.database}: {error}") from error
    return made


class Serialiser(JsonPlusSerializer):
    """langgraph's serialiser, with what `encoding` keeps beyond it."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """Return the tag and the bytes of a value. Raises `encoding.Unstorable`."""
        if obj is None or isinstance(obj, bytes | bytearray):
            return super().dumps_typed(obj)
        try:
            return encoding.MSGPACK, encoding.encode(obj)
        except (TypeError, ValueError, RecursionError):
            refused = encoding.refused(obj)
            if not self.pickle_fallback:
                raise refused from None
        try:
            return "pickle", pickle.dumps(obj)
        except Exception as error:
            raise encoding.Unstorable(refused.place, refused.kind, error) from error


def serialiser(options: Mapping[str, Any]) -> JsonPlusSerializer:
    """Return langgraph's serialiser with the options of ``checkpointer.serde`` that are given."""
    made = Serialiser(**{name: _hashable(option) for name, option in options.items()})
    return made if made._allowed_msgpack_modules is True else made.with_msgpack_allowlist(encoding.MADE)


class _Unasked(logging.Filter):
    """
    langgraph warns of each class that it makes again and nobody has listed; of `encoding`'s nobody needs to.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        module, name = (
            record.args[:2] if isinstance(record.args, tuple) and len(record.args) > 1 else ("", "")
        )
        return (str(module), str(name)) not in encoding.MADE


logging.getLogger(JsonPlusSerializer.__module__).addFilter(_Unasked())


def _hashable(option: Any) -> Any:
    return [tuple(symbol) for symbol in option] if isinstance(option, list) else option
