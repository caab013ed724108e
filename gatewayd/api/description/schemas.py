"""JSON Schema (2020-12) of the classes that say what bodies and answers look like: one function for all of
them.

A class becomes a component of its name; its docstring is the description. A null is allowed where a field has
a default: in requests it is as good as absence.
"""

from __future__ import annotations

import functools
import inspect
import types
from typing import (
    Any,
    Final,
    Literal,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import attrs
from attrs import define, field

from gatewayd.api.requests import kinds, parse
from gatewayd.model import selection

Schema = dict[str, Any]

OBJECT: Final[Schema] = {"type": "object"}
FILLED: Final[Schema] = {"type": "object", "minProperties": 1}
STRINGS: Final[Schema] = {"type": "array", "items": {"type": "string"}}
UUID: Final[Schema] = {"type": "string", "format": "uuid"}
MODE: Final[Schema] = {"type": "string", "enum": sorted(kinds.STREAM_MODES)}

PLAIN: Final[dict[Any, Schema]] = {
    Any: {},
    object: {},
    bool: {"type": "boolean"},
    dict: OBJECT,
    float: {"type": "number"},
    int: {"type": "integer", "minimum": -parse.LARGEST - 1, "maximum": parse.LARGEST},
    list: {"type": "array"},
    str: {"type": "string"},
    types.NoneType: {"type": "null"},
}
KINDS: Final[dict[str, Schema]] = {
    "AssistantId": UUID,
    "AssistantName": {"type": "string", "description": "An assistant's id, or a graph's"},
    "Before": {"anyOf": [{"type": "string"}, OBJECT]},
    "CheckpointId": UUID,
    "Command": {
        "type": "object",
        "properties": {
            "resume": {},
            "update": {"anyOf": [OBJECT, {"type": "array"}, {"type": "null"}]},
            "goto": {"anyOf": [{"type": "string"}, OBJECT, {"type": "array"}, {"type": "null"}]},
        },
    },
    "Config": {
        "type": "object",
        "properties": {
            "tags": {"anyOf": [STRINGS, {"type": "null"}]},
            "recursion_limit": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            "configurable": {"anyOf": [OBJECT, {"type": "null"}]},
        },
    },
    "Count": {"type": "integer", "minimum": 0, "maximum": parse.LARGEST},
    "CronInput": {"anyOf": [OBJECT, {"type": "array", "items": OBJECT}]},
    "Delay": {"type": "number", "minimum": -kinds.LONGEST_DELAY_S, "maximum": kinds.LONGEST_DELAY_S},
    "Extract": {
        "type": "object",
        "additionalProperties": {"type": "string"},
        "maxProperties": kinds.MOST_EXTRACTED,
    },
    "Filter": OBJECT,
    "Filters": {"anyOf": [FILLED, {"type": "array", "items": FILLED, "minItems": 1}]},
    "ItemIndex": {"anyOf": [{"const": False}, STRINGS]},
    "Limit": {"type": "integer", "minimum": 1, "maximum": 1000},
    "Minutes": {"type": "number", "minimum": -kinds.LONGEST_LIFE_MIN, "maximum": kinds.LONGEST_LIFE_MIN},
    "Moment": {"type": "string", "format": "date-time"},
    "Nodes": {"anyOf": [{"const": "*"}, STRINGS]},
    "Offset": {"type": "integer", "minimum": 0, "maximum": parse.LARGEST},
    "Place": OBJECT,
    "StatePart": {
        "type": "string",
        "description": f"{', '.join(selection.FIELDS)}, or values.<key>",
    },
    "StateValues": {"anyOf": [OBJECT, {"type": "array"}]},
    "StreamModes": {"anyOf": [MODE, {"type": "array", "items": MODE}]},
    "ThreadId": UUID,
    "WebhookUrl": {"type": "string", "format": "uri", "minLength": 1, "maxLength": kinds.LONGEST_URL},
}
"""What the named types of `parse` and `kinds` accept; of any other, its supertype's."""


@define
class Schemas:
    """Makes schemas, and collects the components that they refer to."""

    graphs: list[str]
    """What a field `graph_id` may be."""
    components: dict[str, Schema] = field(factory=dict)

    def of(self, kind: Any) -> Schema:
        """Return the schema of a type; a class is referred to."""
        if hasattr(kind, "__supertype__"):  # a NewType
            return KINDS[kind.__name__] if kind.__name__ in KINDS else self.of(kind.__supertype__)
        origin, arguments = get_origin(kind), get_args(kind)
        if origin in (Required, NotRequired):
            return self.of(arguments[0])
        if origin is Literal:
            return {"enum": list(arguments)}
        if origin in (Union, types.UnionType):
            return {"anyOf": [self.of(argument) for argument in arguments]}
        if origin is list:
            return {"type": "array", "items": self.of(arguments[0])}
        if origin is dict:
            return (
                {"type": "object", "additionalProperties": self.of(arguments[1])}
                if arguments[1] is not Any
                else OBJECT
            )
        if is_typeddict(kind) or attrs.has(kind):
            return self._component(kind)
        return PLAIN[kind]

    def _component(self, kind: Any) -> Schema:
        name = kind.__name__
        if name not in self.components:
            self.components[name] = {}  # it may refer to itself
            made = self._typed_dict(kind) if is_typeddict(kind) else self._attrs_class(kind)
            self.components[name] = {"type": "object", "description": inspect.getdoc(kind), **made}
        return {"$ref": f"#/components/schemas/{name}"}

    def _typed_dict(self, kind: Any) -> Schema:
        hints = _hints(kind)
        # `__required_keys__` does not see through postponed annotations.
        required = [name for name, hint in hints.items() if get_origin(hint) is not NotRequired]
        properties = {name: self.of(hint) for name, hint in hints.items()}
        return {"properties": properties, **({"required": required} if kind.__total__ else {})}

    def _attrs_class(self, kind: Any) -> Schema:
        hints = _hints(kind)
        properties, required = {}, []
        for attribute in attrs.fields(kind):
            schema = self.of(hints[attribute.name])
            if attribute.name == "graph_id":
                schema = {"anyOf": [{"type": "string", "enum": self.graphs}, {"type": "null"}]}
            if attribute.default is attrs.NOTHING:
                required.append(attribute.name)
                if attribute.name == "graph_id":
                    schema = schema["anyOf"][0]
            elif {"type": "null"} not in schema.get("anyOf", ()) and schema:
                schema = {"anyOf": [schema, {"type": "null"}]}
            if isinstance(attribute.default, bool | int | float | str):
                schema = {**schema, "default": attribute.default}
            properties[attribute.name] = schema
        return {"properties": properties, **({"required": required} if required else {})}


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)
