"""Kinds of values that bodies have in common, and how each is checked.

What is accepted and not honoured is said beside the field; what is refused, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final, Literal, NewType

from attrs import frozen

from gatewayd import wire
from gatewayd.api.requests import parse
from gatewayd.api.requests.parse import Limit, Object, Offset
from gatewayd.errors import Invalid
from gatewayd.model import selection

STREAM_MODES: Final = frozenset(
    {
        "values",
        "updates",
        "messages",
        "messages-tuple",
        "custom",
        "tasks",
        "checkpoints",
        "debug",
        "events",
        "tools",
    }
)
"""Modes of v1."""

LONGEST_DELAY_S: Final = 100 * 366 * 86_400
"""Greatest `after_seconds`; the due time must remain a date."""

LONGEST_LIFE_MIN: Final = 100 * 366 * 1440
"""Greatest `ttl` of an item."""

LONGEST_URL: Final = 65_536
"""Characters of a webhook."""

MOST_EXTRACTED: Final = 10
"""Paths of one search."""

AssistantName = NewType("AssistantName", str)
StreamModes = NewType("StreamModes", list)  # type: ignore[type-arg]  # of strings
Nodes = NewType("Nodes", object)
"""``"*"`` or a list of names."""
Delay = NewType("Delay", float)
Config = NewType("Config", dict)  # type: ignore[type-arg]  # a RunnableConfig as JSON
Command = NewType("Command", dict)  # type: ignore[type-arg]  # resume, update, goto
Place = NewType("Place", dict)  # type: ignore[type-arg]  # a checkpoint's address
Before = NewType("Before", str)
WebhookUrl = NewType("WebhookUrl", str)
"""1 to 65536 characters."""
Moment = NewType("Moment", int)
"""An ISO timestamp, in µs; one without an offset is UTC."""
CronInput = NewType("CronInput", object)
"""An object, or a list of objects."""
StatePart = NewType("StatePart", str)
"""A field of a state, or ``values.<key>``."""
Count = NewType("Count", int)
"""0 or more."""
Minutes = NewType("Minutes", float)
"""Of a life; what is not more than 0 has passed."""
ItemIndex = NewType("ItemIndex", object)
"""false, or the paths in a value whose texts are embedded."""
StateValues = NewType("StateValues", object)
"""What a node could have returned: an object, or a list."""
Extract = NewType("Extract", dict)  # type: ignore[type-arg]  # alias to path, at most `MOST_EXTRACTED`

ONE, TEN, START, NOW = Limit(1), Limit(10), Offset(0), Delay(0)
TEN_ITEMS, HUNDRED_NAMESPACES = Count(10), Count(100)
SortOrder = Literal["asc", "desc"]


def refuse(name: str, value: Any) -> None:
    """Raise `Invalid` for an option that is not honoured, unless its value asks for nothing."""
    if value:
        raise Invalid(f"`{name}` is not supported yet")


def _assistant(value: Any, _: Any) -> str:
    if not isinstance(value, str):
        raise parse.no_schema(value)
    return value


def _stream_modes(value: Any, _: Any) -> list[str]:
    modes = [value] if isinstance(value, str) else value
    known = isinstance(modes, list) and all(isinstance(mode, str) and mode in STREAM_MODES for mode in modes)
    if not known:
        raise parse.no_schema(value, f"{parse.any_of(sorted(STREAM_MODES))}, or a list of these")
    return modes or ["values"]


def _nodes(value: Any, _: Any) -> Any:
    if value == "*" or (isinstance(value, list) and all(isinstance(name, str) for name in value)):
        return value
    raise parse.no_schema(value, '"*", or a list of the names of nodes')


def _command(value: Any, _: Any) -> Object:
    """Accept what langgraph can make a Command of; what it resumes with is anything."""
    command = parse.mapping(value)
    parse.check_fields(command, COMMAND, "command")
    refuse("command.graph", command.get("graph"))
    if not _updates(command.get("update")) or not _goes(command.get("goto")):
        raise parse.no_schema(value)
    return command


def check_command(command: dict[str, Any]) -> None:
    """Raise `Invalid` for what langgraph can make no Command of."""
    try:
        _command(command, None)
    except parse.Wrong as error:
        raise error.invalid() from None


def _updates(update: Any) -> bool:
    """Whether an update is an object, or a list of keys and values, or nothing."""
    if isinstance(update, list):
        return all(isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) for pair in update)
    return isinstance(update, dict | None) or (isinstance(update, wire.Raw) and update.is_object)


def _goes(goto: Any) -> bool:
    """Whether a goto is a node, a Send, or a list of them, or nothing."""
    places = goto if isinstance(goto, list) else [goto]
    return goto is None or all(
        isinstance(place, str)
        or (isinstance(place, dict) and isinstance(place.get("node"), str) and "input" in place)
        for place in places
    )


@frozen(kw_only=True)
class _Known:
    """The fields of a config whose types are checked; the others are handed on to langgraph."""

    OTHERS_PASS: ClassVar[bool] = True

    tags: list[str] | None = None
    recursion_limit: int | None = None
    configurable: Object | None = None
    metadata: Object | None = None


def _config(value: Any, _: Any) -> Object:
    known = parse.nested(value, _Known)
    config = {name: item for name, item in value.items() if item is not None}
    if known.recursion_limit is not None:
        config["recursion_limit"] = parse.between(known.recursion_limit, -parse.LARGEST, parse.LARGEST)
    _check_address(known.configurable or {}, ("configurable",))
    return config


COMMAND: Final = frozenset({"resume", "update", "goto", "graph", "lg_name"})
"""
Fields of a command; the last two are written by the clients' own Command classes, and mean nothing to a
server.
"""
PLACE: Final = frozenset({"thread_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map"})
_ADDRESS: Final[dict[str, Callable[[Any], Any]]] = {
    "checkpoint_id": parse.string,
    "checkpoint_ns": parse.string,
    "checkpoint_map": parse.mapping,
}
"""The keys that name a checkpoint, and what reads each."""


def _check_address(names: Object, path: tuple[str, ...] = ()) -> None:
    """Raise `Wrong` if a key that names a checkpoint has a value of another type."""
    for name, read in _ADDRESS.items():
        if names.get(name) is not None:
            parse.within((*path, name), read, names[name])


def _place(value: Any, _: Any) -> Object:
    place = {name: item for name, item in parse.mapping(value).items() if item is not None}
    parse.check_fields(place, PLACE, "checkpoint")
    _check_address(place)
    if "checkpoint_id" in place:
        place["checkpoint_id"] = parse.checkpoint_id(place["checkpoint_id"])
    return place


def _state_values(value: Any, _: Any) -> Any:
    if not isinstance(value, dict | list) and not _is_raw(value):
        raise parse.no_schema(value)
    return value


def _is_raw(value: Any) -> bool:
    """Whether a value is an object or a list that is passed on unread."""
    return isinstance(value, wire.Raw) and (value.is_object or value.is_list)


def state_part(value: Any, _: Any = None) -> str:
    """Return the name of a part of a state."""
    name = parse.string(value)
    return name if selection.known(name) else parse.choice(name, selection.FIELDS)


def _before(value: Any, _: Any) -> str | None:
    """Read all forms: an id, ``{"checkpoint_id": …}``, ``{"configurable": {"checkpoint_id": …}}``."""
    if not isinstance(value, dict):
        return parse.string(value)
    path: tuple[str, ...] = ("configurable",)
    inner = value.get("configurable")
    if inner is None or inner == {}:
        inner, path = value, ()
    found = parse.within(path, parse.mapping, inner).get("checkpoint_id")
    return None if found is None else parse.within((*path, "checkpoint_id"), parse.string, found)


def _moment(value: Any, _: Any) -> int:
    try:
        moment = wire.parse_iso(parse.string(value))
        wire.iso(moment)  # it must also be a date in UTC
    except (ValueError, OverflowError):
        raise parse.Wrong(value, f'{parse.show(value)} is not a "date-time"', "format") from None
    return moment


def _cron_input(value: Any, _: Any) -> Any:
    if _is_raw(value):
        return value
    for item in value if isinstance(value, list) else [value]:
        if not isinstance(item, dict):
            raise parse.no_schema(value)
    return value


def _extract(value: Any, _: Any) -> dict[str, str]:
    paths = parse.mapping(value)
    if len(paths) > MOST_EXTRACTED:
        raise parse.Wrong(
            value, f"{parse.show(value)} has more than {MOST_EXTRACTED} properties", "maxProperties"
        )
    for alias, path in paths.items():
        if not isinstance(path, str):
            error = parse.wrong_type(path, "string")
            error.path = (alias,)
            raise error
    return paths


def _item_index(value: Any, _: Any) -> Any:
    if value is False or (isinstance(value, list) and all(isinstance(path, str) for path in value)):
        return value
    raise parse.no_schema(value)


def _webhook(value: Any, _: Any) -> str:
    url = parse.string(value)
    if not url:
        raise parse.Wrong(value, '"" is shorter than 1 character', "minLength")
    if len(url) > LONGEST_URL:
        raise parse.Wrong(value, f"the URL is longer than {LONGEST_URL} characters", "maxLength")
    return url


_HOOKS: Final = {
    AssistantName: _assistant,
    StreamModes: _stream_modes,
    Nodes: _nodes,
    Delay: lambda value, _: parse.between(parse.number(value), -LONGEST_DELAY_S, LONGEST_DELAY_S),
    Command: _command,
    Config: _config,
    Place: _place,
    Before: _before,
    WebhookUrl: _webhook,
    Moment: _moment,
    CronInput: _cron_input,
    Extract: _extract,
    StatePart: state_part,
    StateValues: _state_values,
    Count: lambda value, _: parse.between(parse.integer(value), 0, parse.LARGEST),
    Minutes: lambda value, _: parse.between(parse.number(value), -LONGEST_LIFE_MIN, LONGEST_LIFE_MIN),
    ItemIndex: _item_index,
}
for _kind, _hook in _HOOKS.items():
    parse.CONVERTER.register_structure_hook(_kind, _hook)
