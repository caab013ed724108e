"""What requests say, as values: bodies by one strict converter, queries, paths and headers one by one.

Nothing is converted that is not of the type the field asks for (``"2"`` is no integer, 1 is no boolean; 2.0
is an integer, as in JSON Schema). What becomes of unknown fields is told in `unknown`. A null in place of an
optional field is as good as its absence. The first thing that is wrong ends the reading, with the field's
name in the text.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, Final, Literal, NewType, TypeVar, cast, get_args, get_origin

import attrs
from aiohttp import web
from cattrs import ClassValidationError, Converter
from cattrs.errors import AttributeValidationNote
from cattrs.gen import make_dict_structure_fn

from gatewayd import ids, wire
from gatewayd.api.requests import parsers, payload, unknown
from gatewayd.api.requests.parsers import NotJson
from gatewayd.errors import Invalid, Rejected
from gatewayd.model.idempotency import Idempotency

T = TypeVar("T")

DEEPEST: Final = wire.DEEPEST
QUICK_BYTES: Final = 1024 * 1024
QUICK_VALUES: Final = 10_000
"""Bodies of more are parsed in a process of their own; these take some milliseconds at most."""
MOST_TERMS: Final = 200
"""Values in a filter; each is a term of one SQL expression, whose depth is limited."""
LARGEST: Final = 2**63 - 1
"""What SQLite takes for an integer."""
LONGEST_KEY: Final = 255
"""Characters of an idempotency key."""
SHOWN: Final = 1000
"""Characters of a wrong value that are repeated to the client."""

Object = dict[str, Any]

Limit = NewType("Limit", int)
"""Number of rows of a search: 1 to 1000."""
Offset = NewType("Offset", int)
"""Number of rows to skip: 0 or more."""
Filter = NewType("Filter", dict)  # type: ignore[type-arg]  # a filter's values are free
"""Object that rows are compared with."""
Filters = NewType("Filters", list)  # type: ignore[type-arg]  # of objects
"""One filter, or a list of them."""
ThreadId = NewType("ThreadId", str)
AssistantId = NewType("AssistantId", str)
CheckpointId = NewType("CheckpointId", str)


class Wrong(Exception):
    """A value that is not what its field asks for."""

    def __init__(self, value: Any, sentence: str, keyword: str, path: tuple[str | int, ...] = ()) -> None:
        super().__init__(sentence)
        self.value = value
        self.sentence = sentence
        self.keyword = keyword
        self.path = path

    def invalid(self) -> Invalid:
        """Return the error whose text tells value, rule and place."""
        schema = "".join(
            '["items"]' if isinstance(step, int) else f'["properties"]["{step}"]' for step in self.path
        )
        instance = "".join(f"[{step}]" if isinstance(step, int) else f'["{step}"]' for step in self.path)
        shown = show(self.value)
        return Invalid(
            f'{self.sentence}\n\nFailed validating "{self.keyword}" in schema{schema}\n\n'
            f"On instance{instance}:\n    {shown}"
        )


def show(value: Any) -> str:
    """Return a value as JSON, cut if it is long."""
    try:
        text = wire.text(value)
    except TypeError:  # an integer that came as a float (1e300) and is longer than 64 bits
        text = str(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def wrong_type(value: Any, name: str) -> Wrong:
    """Return the error for a value of another type."""
    return Wrong(value, f'{show(value)} is not of type "{name}"', "type")


def no_schema(value: Any, wanted: str | None = None) -> Wrong:
    """Return the error for a value that is none of several things it may be; `wanted` names them."""
    sentence = f"{show(value)} is not valid under any of the schemas listed in the 'anyOf' keyword"
    return Wrong(value, sentence if wanted is None else f"{sentence}: it may be {wanted}", "anyOf")


def choice(value: Any, words: Sequence[str]) -> str:
    """Return the value if it is one of the words."""
    if string(value) in words:
        return str(value)
    raise Wrong(value, f"{show(value)} is not one of {any_of(words)}", "enum")


def any_of(words: Sequence[str]) -> str:
    """Return words as a sentence names those to choose from."""
    quoted = [f'"{word}"' for word in words]
    return " or ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)


def string(value: Any, _: Any = None) -> str:
    if not isinstance(value, str):
        raise wrong_type(value, "string")
    return value


def boolean(value: Any, _: Any = None) -> bool:
    if not isinstance(value, bool):
        raise wrong_type(value, "boolean")
    return value


def integer(value: Any, _: Any = None) -> int:
    """Return an integer that storage takes; 2.0 is one."""
    whole = int(value) if isinstance(value, float) and value.is_integer() else value
    if isinstance(whole, bool) or not isinstance(whole, int):
        raise wrong_type(value, "integer")
    if not -LARGEST <= whole <= LARGEST:
        bound = (
            f"greater than the maximum of {LARGEST}" if whole > 0 else f"less than the minimum of {-LARGEST}"
        )
        raise Wrong(value, f"{show(value)} is {bound}", "maximum" if whole > 0 else "minimum")
    return whole


def number(value: Any, _: Any = None) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong_type(value, "number")
    return value


def between(value: Any, low: float, high: float) -> Any:
    """Return a number that is within bounds."""
    if value < low:
        raise Wrong(value, f"{show(value)} is less than the minimum of {low}", "minimum")
    if value > high:
        raise Wrong(value, f"{show(value)} is greater than the maximum of {high}", "maximum")
    return value


def mapping(value: Any, _: Any = None) -> Object:
    """Return an object, which may be raw where it is only passed on."""
    if isinstance(value, wire.Raw) and value.is_object:
        return cast(Object, value)
    if not isinstance(value, dict):
        raise wrong_type(value, "object")
    return value


def strings(value: Any, _: Any = None) -> list[str]:
    """Return a list of strings."""
    return items(value, string)


def items(value: Any, each: Callable[[Any], T]) -> list[T]:
    """Return a list whose items have been read by `each`."""
    if not isinstance(value, list):
        raise wrong_type(value, "array")
    found = []
    for index, item in enumerate(value):
        try:
            found.append(each(item))
        except Wrong as error:
            error.path = (index, *error.path)
            raise
    return found


def within(path: tuple[str | int, ...], read: Callable[[Any], T], value: Any) -> T:
    """Return what `read` makes of a value that is found at `path` inside of what is read."""
    try:
        return read(value)
    except Wrong as error:
        error.path = (*path, *error.path)
        raise


def identifier(text: str, name: str) -> str:
    """Return the canonical form of an id in any spelling; `name` is what it identifies."""
    canonical = ids.parse_uuid(text)
    if canonical is None:
        raise Invalid(f"Invalid {name} ID: must be a UUID")
    return canonical


def checkpoint_id(value: Any) -> str:
    """Return a checkpoint's id in its canonical form."""
    canonical = ids.parse_uuid(string(value))
    if canonical is None:
        raise Invalid("Invalid checkpoint ID")
    return canonical


def _filter(value: Any, _: Any = None) -> Object:
    if isinstance(value, wire.Raw):
        raise _too_many_terms(value)
    found = mapping(value)
    _check_terms(value, [found])
    return found


def _filters(value: Any, _: Any = None) -> list[Object]:
    """Read one filter or a list of them, none of which is empty: an empty one matches everything."""
    if isinstance(value, wire.Raw):
        raise _too_many_terms(value)
    found = value if isinstance(value, list) else [value]
    if not found or not all(isinstance(part, dict) and part for part in found):
        raise no_schema(value)
    _check_terms(value, found)
    return found


def _check_terms(value: Any, filters: Sequence[Object | list[Any]]) -> None:
    """
    Raise `Wrong` if filters have more values than one statement takes, or one that storage does not take.
    """
    left, terms = list(filters), 0
    while left:
        members = left.pop()
        for item in members.values() if isinstance(members, dict) else members:
            terms += 1
            if isinstance(item, dict | list):
                left.append(item)
            elif isinstance(item, int) and not -LARGEST - 1 <= item <= LARGEST:
                raise Wrong(item, f"{item} is greater than the maximum of {LARGEST}", "maximum")
    if terms > MOST_TERMS:
        raise _too_many_terms(value)


def _too_many_terms(value: Any) -> Wrong:
    return Wrong(value, f"the filter has more than {MOST_TERMS} values", "maxProperties")


def _converter() -> Converter:
    converter = Converter(detailed_validation=True)
    for kind, read in {str: string, bool: boolean, int: integer, float: number}.items():
        converter.register_structure_hook(kind, read)
    converter.register_structure_hook(Limit, lambda value, _: between(integer(value), 1, 1000))
    converter.register_structure_hook(Offset, lambda value, _: between(integer(value), 0, LARGEST))
    converter.register_structure_hook(Filter, _filter)
    converter.register_structure_hook(Filters, _filters)
    converter.register_structure_hook(ThreadId, lambda value, _: identifier(string(value), "thread"))
    converter.register_structure_hook(AssistantId, lambda value, _: identifier(string(value), "assistant"))
    converter.register_structure_hook(CheckpointId, lambda value, _: checkpoint_id(value))

    def literal(value: Any, kind: Any) -> Any:
        return choice(value, get_args(kind))

    def listed(value: Any, kind: Any) -> Any:
        return items(value, lambda item: converter.structure(item, get_args(kind)[0]))

    def optional(value: Any, kind: Any) -> Any:
        (inner,) = (member for member in get_args(kind) if member is not types.NoneType)
        return None if value is None else converter.structure(value, inner)

    hooks: list[tuple[Any, Callable[[Any, Any], Any]]] = [(Literal, literal), (list, listed), (dict, mapping)]
    for origin, hook in hooks:
        converter.register_structure_hook_func(partial(_has_origin, origin), hook)
    converter.register_structure_hook_func(_is_optional, optional)
    converter.register_structure_hook_factory(attrs.has, partial(_of_class, converter))
    return converter


def _has_origin(origin: Any, kind: Any) -> bool:
    return get_origin(kind) is origin


def _is_optional(kind: Any) -> bool:
    arguments = get_args(kind)
    return get_origin(kind) is types.UnionType and types.NoneType in arguments and len(arguments) == 2


def structure(value: Any, kind: type[T]) -> T:
    """Make an instance of an attrs class of JSON data. Raises `Invalid`."""
    try:
        return nested(value, kind)
    except Wrong as error:
        raise error.invalid() from None


def items_of(values: list[Any], kind: type[T]) -> list[T]:
    """Make instances of an attrs class of a list of JSON data. Raises `Invalid`, which names the item."""
    try:
        return items(values, lambda value: nested(value, kind))
    except Wrong as error:
        raise error.invalid() from None


def nested(value: Any, kind: type[T]) -> T:
    """Do the same for a part of a body: the error does not know its place yet."""
    return CONVERTER.structure(value, kind)


def _of_class(converter: Converter, kind: Any) -> Callable[[Any, Any], Any]:
    """Return what reads an attrs class, as the body or as a part of it."""
    fields = make_dict_structure_fn(kind, converter)
    known = frozenset(attribute.name for attribute in attrs.fields(kind))
    others_pass = getattr(kind, "OTHERS_PASS", False)

    def read(value: Any, _: Any) -> Any:
        given = {name: item for name, item in mapping(value).items() if item is not None}
        if not given.keys() <= known:
            check_fields(given, known, kind.__name__, others_pass=others_pass)
        for attribute in attrs.fields(kind):
            if attribute.default is attrs.NOTHING and attribute.name not in given:
                raise Wrong(value, f'"{attribute.name}" is a required property', "required")
        try:
            return fields(given, kind)
        except ClassValidationError as group:
            raise _first(group) from None

    return read


def check_fields(given: Object, known: Collection[str], body: str, *, others_pass: bool = False) -> None:
    """
    Raise `Wrong` if an object has a field that is to be refused, see `unknown`.

    With `others_pass` it may have fields that we need not know; only near misses are refused.
    """
    problem = unknown.problem(given, known, body, others_pass=others_pass)
    if problem is not None:
        name, sentence = problem
        raise Wrong(given[name], sentence, "additionalProperties")


def _first(group: ClassValidationError) -> Exception:
    """Return the first error of a converter's group, with the field's name in its path."""
    error = group.exceptions[0]
    if isinstance(error, ClassValidationError):
        error = _first(error)
    if isinstance(error, Wrong):
        notes = getattr(group.exceptions[0], "__notes__", ())
        names = [note.name for note in notes if isinstance(note, AttributeValidationNote)]
        error.path = (*names[-1:], *error.path)  # inner classes have noted theirs before
    return error


CONVERTER: Final = _converter()


# requests


async def json(request: web.Request) -> Any:
    """
    Return a request's body as JSON data; of a large one, what is only passed on is `wire.Raw`.

    Raises `Invalid`, `TooLarge`, `Unavailable`.
    """
    return await _parsed(request, await payload.received(request))


async def checked(request: web.Request, data: bytes) -> Any:
    """Do the same for JSON that has come in another way."""
    return await _parsed(request, await payload.of_bytes(request, data))


async def _parsed(request: web.Request, body: payload.Body) -> Any:
    pool = request.app[parsers.PARSERS]
    if body.size > QUICK_BYTES or body.values > QUICK_VALUES:
        return await pool.parsed(body.pieces, body.size)
    data = body.whole()
    try:
        value = wire.loads(data)
    except wire.JSONDecodeError:
        raise NotJson("Invalid JSON in request body") from None
    if too_deep(data, value):
        raise Invalid(wire.TOO_DEEP)
    if body.size > pool.limits.least:
        pool.limits.check(value)
    return value


async def rejecting_object(request: web.Request) -> Object:
    """
    Return a request's body, an object, with protocol v2's word for anything else.

    Raises `Rejected`, and `Invalid` for what is beyond a limit.
    """
    try:
        found = await json(request)
    except NotJson:
        raise Rejected("Invalid JSON body") from None
    if not isinstance(found, dict):
        raise Rejected("Invalid JSON body")
    return found


def too_deep(data: bytes, value: Any) -> bool:
    """Whether a value is nested too deep to be stored; `data` is its JSON."""
    return data.count(b"[") + data.count(b"{") > DEEPEST and wire.too_deep(value)


async def body(request: web.Request, kind: type[T]) -> T:
    """Return a request's body as an attrs class. Raises `Invalid`."""
    return structure(await json(request), kind)


async def once(request: web.Request) -> Idempotency | None:
    """Return what the ``Idempotency-Key`` header marks the request with, if it has one. Raises `Invalid`."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not 0 < len(key) <= LONGEST_KEY or not (key.isascii() and key.isprintable()):
        raise Invalid(f"Idempotency-Key must be 1 to {LONGEST_KEY} printable ASCII characters")
    return Idempotency(key=key, fingerprint=(await payload.received(request)).fingerprint)


def path_id(request: web.Request, name: str) -> str:
    """Return an id from the path: ``path_id(request, "thread")`` for ``{thread_id}``. Raises `Invalid`."""
    return identifier(request.match_info[f"{name}_id"], name)


def flag(request: web.Request, name: str) -> bool:
    """Return a switch of the query; what is neither true nor 1 is false."""
    return request.query.get(name, "").strip().lower() in {"true", "1"}


def whole(request: web.Request, name: str, default: int) -> int:
    """Return an integer of the query, at least 0. Raises `Rejected`."""
    text = request.query.get(name)
    if text is None:
        return default
    try:
        return min(LARGEST, max(0, int(text[:50])))
    except ValueError:
        raise Rejected(f"invalid literal for int() with base 10: {text[:SHOWN]!r}") from None


def listed(request: web.Request, *names: str) -> list[str]:
    """Return the words of a query's list in any spelling: repeated, a JSON array, or separated by commas."""
    found: list[str] = []
    for name in names:
        for text in request.query.getall(name, ()):
            if text.lstrip().startswith("["):
                try:
                    found += [word for word in wire.loads(text) if isinstance(word, str)]
                except wire.JSONDecodeError:
                    found.append(text)
            else:
                found += [word for part in text.split(",") if (word := part.strip())]
    return found
