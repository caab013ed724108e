"""The errors that cross layers or processes, as one tree; `api.faults` maps them to statuses in one table.

    GatewaydError
    ├── RequestError          the caller's fault; `detail` is sent as ``{"detail": …}``
    │   ├── Invalid           422: a field is wrong; the detail names it
    │   ├── Rejected          400: well-formed, but refused for what it means
    │   ├── TooLarge          413: the request is larger than what the operator allows
    │   ├── NotFound          404
    │   │   └── UnknownInterrupt  an answer names a question that is not open
    │   └── Conflict          409
    ├── ProjectRefusal        the status that the project's own code has chosen, with its headers and detail
    ├── Unusable              424: a graph of the project is none
    ├── Unavailable           503: not now (stopping, service worker absent, database locked); retry later
    │   └── Damaged           the database is damaged: 503 with what to do; at the start exit code 65
    ├── InsufficientStorage   507: a limit of the operator's or the disk leaves no room for it
    │   └── Unconfirmed       it is stored, but the disk has not confirmed it
    ├── Unanswered            504: a worker did not answer in time; the detail names what hung
    ├── ReadFailed            a worker could not read the database; the daemon makes its own error of it
    ├── Unreadable            500: something stored is damaged, incomplete or sealed with another key
    ├── BadConfiguration      exit code 78: langgraph.json, settings or the project itself
    └── DataDirBusy           exit code 1: another daemon holds the data directory

Classes that a single module raises for one reason stand there, below one of these: `blobs.join.Missing` and
`blobs.seal.Locked` (Unreadable), `storage.sqlite.engine.failures` (Unavailable, InsufficientStorage),
`supervisor.worker.Gone` (Unavailable), `worker.project.usercode.LoadError` (BadConfiguration),
`worker.states.checkpoints.SinkFailed`, `worker.runs.outbox.BacklogExceeded`,
`worker.store.embeddings.EmbeddingFailed`, `reload.NotReloaded`, `api.streaming.commands.Refused`.

Between the processes an error travels as its class of this module, with its detail and `fields`
(`channel.refusals`). Errors of libraries (sqlite3, OSError) never leave the layer that met them unless they
are bugs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class GatewaydError(Exception):
    """Base of all errors raised on purpose; `detail` is a sentence for the person who reads it."""

    fields: ClassVar[tuple[str, ...]] = ()
    """
    What a class has beside its detail: names of attributes, and of parameters by which it is made again.
    """

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


class ProjectRefusal(GatewaydError):
    """The project's own code has refused with a status of its choice, to be shown to the client."""

    fields = ("status", "headers")

    def __init__(self, detail: str, status: int, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = dict(headers or {})


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


class ReadFailed(GatewaydError):
    """Storage could not execute a read in a worker: the number and the name of the driver's error."""

    fields = ("code", "name")

    def __init__(self, detail: str, code: int, name: str) -> None:
        super().__init__(detail)
        self.code = code
        self.name = name


class Unreadable(GatewaydError):
    """
    Something that is stored can't be read: it is damaged, incomplete, of a newer version or sealed with
    another key.
    """


class BadConfiguration(GatewaydError):
    """The settings, langgraph.json or the project can't be used; the daemon ends with exit code 78."""


class DataDirBusy(GatewaydError):
    """Another daemon holds the data directory."""
