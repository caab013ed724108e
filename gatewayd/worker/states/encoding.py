"""How values become bytes: langgraph's MessagePack, with what it does not know or does not keep.

Numbers and scalars of numpy and of the standard library, pure paths, ranges, objects of attrs classes and the
like are data: they are stored as calls of their constructors, in langgraph's own form, so that any reader of
the file can make them again. Lone surrogates and bytearrays, which MessagePack would silently change, are
stored the same way; a map with keys that it does not know is stored as its pairs. What is no data (a lock, a
function) is refused by its place and class.
"""

from __future__ import annotations

import dataclasses
import fractions
import sys
import types
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import PurePath
from typing import Any, Final

import attrs
import ormsgpack
from langgraph.checkpoint.serde import jsonplus

MADE: Final = frozenset(
    {
        ("builtins", "bytearray"),
        ("builtins", "complex"),
        ("builtins", "dict"),
        ("builtins", "int"),
        ("builtins", "range"),
        ("builtins", "str"),
        ("fractions", "Fraction"),
        *(
            ("numpy", f"{name}{bits}")
            for name, widths in {
                "int": (8, 16, 32, 64),
                "uint": (8, 16, 32, 64),
                "float": (16, 32, 64),
                "complex": (64, 128),
                "datetime": (64,),
                "timedelta": (64,),
            }.items()
            for bits in widths
        ),
        *(("numpy", name) for name in ("bool", "bool_", "longdouble")),
        *(
            ("pathlib", name)
            for name in ("PurePath", "PurePosixPath", "PureWindowsPath", "PosixPath", "WindowsPath", "Path")
        ),
    }
)
"""Constructors of which stored data may always be made, by module and name."""

HELP: Final = (
    'Store what it is made of instead, or set "checkpointer": {"serde": {"pickle_fallback": true}} in langgraph.json, '
    "so that what can be pickled is stored"
)
MSGPACK: Final = "msgpack"
"""The tag of what is encoded here."""
DEEPEST: Final = 100
"""Levels of a value in which the place of a refused part is looked for."""

_OPTION: Final = jsonplus._option & ~ormsgpack.OPT_REPLACE_SURROGATES
_HOLDING: Final = frozenset({dict, list, tuple, bytearray})
MOST_WAYS: Final = 10_000
"""Classes about which is remembered how they are encoded; some programs make classes without end."""
_WIDEST: Final = 1 << 63


class Unstorable(TypeError):
    """A value can't be stored."""

    def __init__(self, place: str, kind: type, pickling: BaseException | None = None) -> None:
        """
        `place` is where in the value it was found, `pickling` why it could not be pickled, if that was tried.
        """
        self.place, self.kind, self.pickling = place, kind, pickling
        named = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
        what = f"{place or 'the value'} is of type {named}, which can't be stored in a checkpoint"
        super().__init__(f"{what}: {pickling}" if pickling is not None else f"{what}. {HELP}")

    def of_channels(self) -> Unstorable:
        """Return the same of a checkpoint: its place begins with the name of the channel."""
        return Unstorable(self.place.removeprefix("channel_values."), self.kind, self.pickling)

    def within(self, name: str) -> Unstorable:
        """Return the same of a value that is part of another one."""
        place = self.place if not self.place or self.place.startswith("[") else f".{self.place}"
        return Unstorable(name + place, self.kind, self.pickling)


def encode(value: Any) -> bytes:
    """Return a value as MessagePack. Raises what `ormsgpack` raises for what can't be stored."""
    try:
        kept = _kept(value) if _has_bytearray(value) else value
        return ormsgpack.packb(kept, default=_default, option=_OPTION)
    except TypeError as error:
        changed = _spelt_out(value)
        if changed is value:
            raise
        try:
            return ormsgpack.packb(changed, default=_default, option=_OPTION)
        except TypeError:
            raise error from None


def refused(value: Any) -> Unstorable:
    """Return why a value can't be stored: the innermost part that can't, and its place."""
    place, part = "", value
    for _ in range(DEEPEST):
        found = next(((name, one) for name, one in _parts(part) if not _encodes(one)), None)
        if found is None:
            break
        name, part = found
        place += name if name.startswith("[") or not place else f".{name}"
    return Unstorable(place, type(part))


@dataclasses.dataclass
class _Call:
    """A call that makes a value again, to be encoded as langgraph does it."""

    module: str
    name: str
    args: tuple[Any, ...]


Way = Callable[[Any], Any]
"""How the objects of a class are encoded."""

_ways: Final[dict[type, Way]] = {}
"""What was found out about classes: most objects of a state are of few of them."""


def _default(value: Any) -> Any:
    """Encode an object that MessagePack does not know."""
    way = _ways.get(type(value))
    if way is None:
        way = _way(value)
        if len(_ways) < MOST_WAYS:
            _ways[type(value)] = way
    return way(value)


def _way(value: Any) -> Way:
    kind = type(value)
    if kind is _Call:
        return _of_call
    if _call(value) is not None:
        return lambda one: _default(_call(one))
    if attrs.has(kind):
        names = [
            (attribute.alias or attribute.name, attribute.name)
            for attribute in attrs.fields(kind)
            if attribute.init
        ]
        return partial(_of_fields, names)
    if dataclasses.is_dataclass(kind) and not all(field.init for field in dataclasses.fields(kind)):
        names = [(field.name, field.name) for field in dataclasses.fields(kind) if field.init]
        return partial(_of_fields, names)
    fields = getattr(kind, "__pydantic_fields__", None) or {}
    open_to_all = frozenset(name for name, one in fields.items() if one.annotation is Any)
    return partial(_of_model, open_to_all) if open_to_all else _langgraphs


def _of_call(call: _Call) -> Any:
    code = jsonplus.EXT_CONSTRUCTOR_POS_ARGS
    return ormsgpack.Ext(code, encode((call.module, call.name, call.args)))


def _of_model(open_to_all: frozenset[str], value: Any) -> Any:
    """
    Encode a pydantic model of which some fields may hold anything: its own dump would make texts of some
    classes.
    """
    held = {name: value.__dict__[name] for name in open_to_all if value.__dict__.get(name)}
    if not held:
        return _langgraphs(value)
    kind, fields = type(value), {**value.model_dump(exclude=set(held)), **held}
    return ormsgpack.Ext(
        jsonplus.EXT_PYDANTIC_V2, encode((kind.__module__, kind.__name__, fields, "model_validate_json"))
    )


def _of_fields(names: list[tuple[str, str]], value: Any) -> Any:
    """
    Encode an object as the arguments of its constructor: pairs of the argument's name and the attribute's.
    """
    kind, fields = type(value), {argument: getattr(value, name) for argument, name in names}
    return ormsgpack.Ext(
        jsonplus.EXT_CONSTRUCTOR_KW_ARGS, encode((kind.__module__, kind.__qualname__, fields))
    )


def _call(value: Any) -> _Call | None:
    """Return how a value of a class that is data is made again."""
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.generic):
        return _numpys(numpy, value)
    match value:
        case complex():
            return _Call("builtins", "complex", (value.real, value.imag))
        case range():
            return _Call("builtins", "range", (value.start, value.stop, value.step))
        case fractions.Fraction():
            return _Call("fractions", "Fraction", (value.numerator, value.denominator))
        case PurePath():
            return _Call("pathlib", type(value).__name__, value.parts)
        case bytearray():
            return _Call("builtins", "bytearray", (bytes(value),))
    return None


def _numpys(numpy: Any, value: Any) -> _Call | None:
    """Return how a scalar of numpy is made again."""
    name = type(value).__name__
    if isinstance(value, (numpy.datetime64, numpy.timedelta64)):
        unit, count = numpy.datetime_data(value.dtype)
        if unit == "generic":
            return _Call("numpy", name, ("NaT",) if numpy.isnat(value) else (int(value.astype("int64")),))
        step = unit if count == 1 else f"{count}{unit}"
        return _Call("numpy", name, (int(value.astype("int64")), step))
    if isinstance(value, numpy.longdouble):  # wider than Python's; its text is exact
        return _Call("numpy", "longdouble", (str(value),))
    plain = value.item()
    return None if isinstance(plain, numpy.generic | tuple) else _Call("numpy", name, (plain,))


# langgraph's own encoder of objects, with ours for what they hold: a question, a message, a model.
_langgraphs: Final = types.FunctionType(
    jsonplus._msgpack_default.__code__, {**vars(jsonplus), "_msgpack_enc": encode}
)


def _has_bytearray(value: Any) -> bool:
    """Whether there is a bytearray in plain data: MessagePack would not refuse it, but change it."""
    kind = type(value)
    if kind is dict:
        several: Any = value.values()
    elif kind is list or kind is tuple:
        several = value
    else:
        return kind is bytearray
    if _HOLDING.isdisjoint(map(type, several)):
        return False
    for part in several:
        inner = type(part)
        if inner in _HOLDING and (part or inner is bytearray) and _has_bytearray(part):
            return True
    return False


def _kept(value: Any) -> Any:
    """Return a copy of plain data with calls for its bytearrays."""
    match value:
        case bytearray():
            return _call(value)
        case dict() if type(value) is dict:
            return {key: _kept(one) for key, one in value.items()}
        case list() | tuple() if type(value) in (list, tuple):
            return type(value)(map(_kept, value))
    return value


def _spelt_out(value: Any) -> Any:
    """
    Return a copy with calls for what MessagePack refuses in plain data: surrogates, wide integers, unknown
    keys.
    """
    match value:
        case str():
            return value if _is_text(value) else _surrogates(value)
        case bool():
            return value
        case int() if not -_WIDEST <= value < 2 * _WIDEST:
            return _Call("builtins", "int", (str(value),))
        case bytearray():
            return _call(value)
        case dict():
            made = {key: _spelt_out(element) for key, element in value.items()}
            if all(_is_key(key) for key in value):
                return made if any(made[key] is not value[key] for key in made) else value
            return _Call("builtins", "dict", ([[_spelt_out(key), one] for key, one in made.items()],))
        case list() | tuple() if type(value) in (list, tuple):
            several = [_spelt_out(element) for element in value]
            if any(one is not other for one, other in zip(several, value, strict=True)):
                return type(value)(several)
    return value


def _surrogates(text: str) -> _Call:
    return _Call("builtins", "str", (text.encode("utf-8", "surrogatepass"), "utf-8", "surrogatepass"))


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_key(key: Any) -> bool:
    try:
        ormsgpack.packb({key: None}, option=_OPTION)
    except TypeError:
        return False
    return True


def _encodes(value: Any) -> bool:
    try:
        encode(value)
    except Exception:
        return False
    return True


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the parts of a value with their places in it."""
    match value:
        case dict():
            for key, one in value.items():
                yield (key if isinstance(key, str) and key.isidentifier() else f"[{key!r}]"), one
        case list() | tuple():
            yield from ((f"[{position}]", one) for position, one in enumerate(value))
        case set() | frozenset():
            yield from (("[…]", element) for element in value)
        case _:
            fields = getattr(value, "__dict__", None)
            if isinstance(fields, dict):
                yield from ((name, one) for name, one in fields.items() if not name.startswith("__"))
            elif dataclasses.is_dataclass(value) and not isinstance(value, type):
                yield from ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
            elif attrs.has(type(value)):
                yield from (
                    (attribute.name, getattr(value, attribute.name))
                    for attribute in attrs.fields(type(value))
                )
