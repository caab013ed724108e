"""Errors on the channel: the name of a class of `gatewayd.errors`, its detail, and the fields of the class.

What a worker refuses is told by class, so that the daemon raises what it would have raised itself; which
class it is, the worker decides by isinstance. A class of the project's own that happens to be called
`NotFound` is none of ours: it travels as a plain `GatewaydError`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gatewayd import errors

CLASSES: Final[Mapping[str, type[errors.GatewaydError]]] = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.GatewaydError)
}
"""All classes that may be named."""


def pack(error: errors.GatewaydError) -> list[Any]:
    """
    Return [class, detail, fields] of an error; of a subclass that is not in `gatewayd.errors`, its base's.
    """
    kind = next(kind for kind in type(error).__mro__ if CLASSES.get(kind.__name__) is kind)
    return [kind.__name__, error.detail, {name: getattr(error, name) for name in kind.fields}]


def unpack(packed: list[Any]) -> errors.GatewaydError:
    """Return the error that was packed; of a class that is not known, a `GatewaydError`."""
    name, detail, fields = packed
    return CLASSES.get(name, errors.GatewaydError)(detail, **fields)
