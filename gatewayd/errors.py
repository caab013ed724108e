"""The errors that cross layers, as a small tree; `api.faults` maps them to statuses in one table.

    GatewaydError
    ├── RequestError          the caller's fault; `detail` is sent as ``{"detail": …}``
    │   ├── Invalid           422: a field is wrong; the detail names it
    │   ├── Rejected          400: well-formed, but refused for what it means
    │   ├── TooLarge          413: the request is larger than what the operator allows
    │   ├── NotFound          404
    │   └── Conflict          409
    ├── Unusable              424: a graph of the project is none
    ├── Unavailable           503: not now (stopping, service worker absent, database locked); retry later
    │   └── Damaged           the database is damaged: 503 with what to do; at the start exit code 65
    ├── InsufficientStorage   507: a limit of the operator's or the disk leaves no room for it
    │   └── Unconfirmed       it is stored, but the disk has not confirmed it
    ├── Unanswered            504: a worker did not answer in time; the detail names what hung
    ├── Unreadable            500: something stored is damaged, incomplete or sealed with another key
    ├── BadConfiguration      exit code 78: langgraph.json, settings or the project itself
    └── DataDirBusy           exit code 1: another daemon holds the data directory

Errors of libraries (sqlite3, OSError) never leave the layer that met them unless they are bugs.
"""

from __future__ import annotations

from typing import Any


class GatewaydError(Exception):
    """Base of all errors raised on purpose; `detail` is a sentence for the person who reads it."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class RequestError(GatewaydError):
    """The caller asked for something that can't be done."""


class Invalid(RequestError):
    """A field of the request is wrong."""


class Rejected(RequestError):
    """The request is well-formed, but its meaning is refused."""


class TooLarge(RequestError):
    """The request is too large to be read; the rest of it has not been."""


class NotFound(RequestError):
    """What the request names does not exist (or no longer)."""


class UnknownInterrupt(NotFound):
    """An answer names an interrupt that does not wait for one (any more)."""


class Conflict(RequestError):
    """The request clashes with the present state."""


class Unusable(GatewaydError):
    """A factory of the project has made something that is no graph."""


class Unavailable(GatewaydError):
    """The server can't do this at the moment; the client may retry."""


class Damaged(Unavailable):
    """The database is damaged. It is not written any more; the daemon does not start on it (exit code 65)."""


class InsufficientStorage(GatewaydError):
    """There is no room for what should be stored; when some has been made, the client may retry."""


class Unconfirmed(InsufficientStorage):
    """
    The write is stored, but the disk has not confirmed it; `result` is what the operation returned.
    """

    def __init__(self, detail: str, result: Any) -> None:
        super().__init__(detail)
        self.result = result


class Unanswered(GatewaydError):
    """A call into a worker got no answer before its deadline."""


class Unreadable(GatewaydError):
    """
    Something that is stored can't be read: it is damaged, incomplete, of a newer version or sealed with
    another key.
    """


class BadConfiguration(GatewaydError):
    """The settings, langgraph.json or the project can't be used; the daemon ends with exit code 78."""


class DataDirBusy(GatewaydError):
    """Another daemon holds the data directory."""
