"""langgraph.json, read and judged, but nothing of it imported: what the project asks for, as a `Project`.

The rule is "no silent no". Every key of the file ends in one of five classes, and the tables below are the list:

- honoured (`HONOURED`);
- refused by name (`REFUSED`): serving without it would be dangerous, or would serve something else than was meant;
- warned of (`UNHONOURED`): the project works without it, in part;
- noted: keys that only concern building images, and switches for things that aren't served anyway;
- unknown: one warning each.

A value that asks for nothing (``false``, ``null``, an empty object) is as good as an absent key. All paths are relative
to the folder of the file, whatever the current directory is.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen

from gatewayd import wire
from gatewayd.errors import BadConfiguration
from gatewayd.model.items import StoreIndex, StoreTtl
from gatewayd.model.retention import MOST_MINUTES, STRATEGIES, Retention
from gatewayd.model.webhook import WebhookRules

SECTIONS = frozenset({"http", "store", "checkpointer", "webhooks", "gatewayd"})
"""Keys whose value is an object of options that are judged one by one."""

ON_RESTART = ("resume", "restart", "error", "interrupt")
"""What may become of runs that were executing when the server was killed."""

HONOURED = frozenset(
    {
        "$schema",
        "graphs",
        "dependencies",
        "env",
        "python_version",
        "http.cors",
        "http.disable_meta",
        "http.disable_store",
        "http.disable_webhooks",
        "checkpointer.serde",
        "checkpointer.ttl",
        "store.index",
        "store.ttl",
        "gatewayd.graphs",
    }
    | {"webhooks.env_prefix", "webhooks.url", "webhooks.headers"}
)

BUILD_ONLY = frozenset(
    {
        "_INTERNAL_docker_tag",
        "api_version",
        "base_image",
        "dockerfile_lines",
        "image_distro",
        "keep_pkg_tools",
        "pip_config_file",
        "pip_installer",
        "source",
    }
)
"""Keys that shape a container image and mean nothing to a running server."""

REFUSED = {
    "auth": "authentication is not supported yet; the project would be served to everybody",
    "encryption": "not supported yet; the data would be stored in the clear",
    "node_version": "JavaScript projects are not supported; gatewayd runs Python graphs",
    "checkpointer.path": "not supported yet; checkpoints are kept in gatewayd's own database",
    "store.path": "not supported yet; the store is kept in gatewayd's own database",
    "http.app": "not supported yet; its routes and its middleware (which may guard all others) would be missing",
    "http.enable_custom_route_auth": "authentication is not supported yet",
    "http.disable_assistants": "not supported yet; the routes would be open",
    "http.disable_threads": "not supported yet; the routes would be open",
    "http.disable_runs": "not supported yet; the routes would be open",
}
"""Keys whose silent absence would be dangerous or would serve the wrong thing, and why."""

UNHONOURED = {
    "checkpointer.backend": "not honoured; checkpoints are kept in gatewayd's own database",
    "priority": "runs have no priorities yet",
    "http.configurable_headers": "not honoured yet; no header reaches `configurable`",
    "http.logging_headers": "not honoured yet; no header is logged",
    "http.middleware_order": "there is no custom middleware",
    "http.mount_prefix": "not honoured yet; routes begin at /",
    "ui": "UI components are not served",
    "ui_config": "UI components are not served",
    "disable_persistence": "everything is stored",
}
"""Keys the project works without, and what is missing."""

NOT_SERVED = frozenset({"http.disable_a2a", "http.disable_mcp", "http.disable_ui"})
"""Switches that hold because what they switch off is not built; whoever builds it takes its switch out of here."""

SWITCHES = ("meta", "store")
"""Parts of the API that ``http.disable_…`` switches off."""

JS_SUFFIXES = (".ts", ".tsx", ".mts", ".cts", ".js", ".jsx", ".mjs", ".cjs")

CORS_METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY")
CORS_EXPOSED = (
    "x-pagination-total",
    "x-pagination-next",
    "content-location",
    "location",
    "x-search-incomplete",
)
"""The reference's; `location`, without which a browser's client can't reconnect to its run; and our own."""


@frozen(kw_only=True)
class GraphSpec:
    """
    One entry of ``graphs``: where the object stands in the user's code.

    A location with a slash is a file, any other a dotted module name.
    """

    graph_id: str
    path: str
    """As written: ``./folder/file.py:attribute`` or ``package.module:attribute``."""
    description: str | None = None
    on_restart: str | None = None
    """One of `ON_RESTART`; None: as the settings say."""

    @property
    def location(self) -> str:
        """The part before the colon."""
        return self.path.rpartition(":")[0]

    @property
    def attribute(self) -> str:
        """The part after the colon."""
        return self.path.rpartition(":")[2]

    @property
    def is_file(self) -> bool:
        """Whether the location is a file (relative to the project's folder) and not a module."""
        return "/" in self.location


@frozen(kw_only=True)
class Cors:
    """
    What other origins' pages may do. A field that ``http.cors`` leaves out keeps the open default, so that naming
    the origins doesn't close POST; only the origins themselves are none unless named.
    """

    allow_origins: tuple[str, ...] = ()
    """Origins, or ``("*",)``."""
    allow_methods: tuple[str, ...] = CORS_METHODS
    allow_headers: tuple[str, ...] = ("*",)
    """``("*",)``: whatever header is asked for."""
    allow_credentials: bool = False
    allow_origin_regex: str | None = None
    """Matched against the whole origin, beside `allow_origins`."""
    expose_headers: tuple[str, ...] = CORS_EXPOSED
    max_age: int = 600
    """Seconds a preflight's answer may be kept by the browser."""


@frozen(kw_only=True)
class Project:
    """What langgraph.json asks for."""

    path: Path
    """The file, absolute."""
    folder: Path
    """Its folder: what all paths in it are relative to."""
    graphs: dict[str, GraphSpec]
    """By graph id, in the order of the file; at least one."""
    dependencies: tuple[str, ...] = ()
    """As written: folders for the search path; package names are the virtualenv's business."""
    env: dict[str, str] = field(factory=dict)
    """Variables for the user's code and for the server's settings; they override the process's environment."""
    cors: Cors | None = None
    """``http.cors``; None if the file has none."""
    webhooks: WebhookRules = field(factory=WebhookRules)
    retention: Retention = field(factory=Retention)
    """``checkpointer.ttl``: how long threads are kept."""
    serde: dict[str, Any] = field(factory=dict)
    """``checkpointer.serde``: those options of langgraph's `JsonPlusSerializer` that the file has, as JSON data."""
    store_index: StoreIndex | None = None
    """``store.index``; None if items are not found by meaning."""
    store_ttl: StoreTtl = field(factory=StoreTtl)
    disabled: frozenset[str] = frozenset()
    """Parts of the API that ``http`` switches off: meta, store."""
    warnings: tuple[str, ...] = ()
    """One line per key that is not honoured."""
    notes: tuple[str, ...] = ()
    """Lines of the same kind that don't deserve a warning."""

    def search_path(self) -> list[str]:
        """Return the folders to append to `sys.path`: the project's, then those of the dependencies that exist."""
        folders = [self.folder, *(self.folder / dependency for dependency in self.dependencies)]
        return list(dict.fromkeys(str(folder.resolve()) for folder in folders if folder.is_dir()))


def read(path: Path, environ: Mapping[str, str] | None = None) -> Project:
    """
    Read a langgraph.json and the dotenv file it may name; `environ` are the variables for the headers of webhooks.

    Raises `BadConfiguration` with one line that tells the file, the key and the cause.
    """
    # The file itself may be a link (into a mounted volume): its folder is where the link stands.
    path = path.parent.resolve() / path.name
    document = _document(path)
    warnings: list[str] = []
    notes: list[str] = []
    _judge(path, document, warnings, notes)
    env = _env(path, document.get("env"), warnings)
    return Project(
        path=path,
        folder=path.parent,
        graphs=_graphs(path, document.get("graphs"), (document.get("gatewayd") or {}).get("graphs")),
        dependencies=_dependencies(path, document.get("dependencies"), warnings),
        env=env,
        cors=_cors(path, (document.get("http") or {}).get("cors"), warnings),
        webhooks=_webhooks(path, document, env, environ or {}, warnings),
        retention=_retention(path, (document.get("checkpointer") or {}).get("ttl"), warnings),
        serde=_serde(path, (document.get("checkpointer") or {}).get("serde"), warnings),
        store_index=_store_index(path, (document.get("store") or {}).get("index"), warnings),
        store_ttl=_store_ttl(path, (document.get("store") or {}).get("ttl"), warnings),
        disabled=frozenset(part for part in SWITCHES if (document.get("http") or {}).get(f"disable_{part}")),
        warnings=tuple(warnings),
        notes=tuple(notes),
    )


def _bad(path: Path, key: str, cause: str) -> BadConfiguration:
    return BadConfiguration(f"{path}: {key}: {cause}")


def _document(path: Path) -> dict[str, Any]:
    try:
        document = wire.loads(path.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    except FileNotFoundError:
        raise BadConfiguration(f"{path}: no such file; --config names another") from None
    except OSError as error:
        raise BadConfiguration(f"{path}: can't be read: {error.strerror or error}") from error
    except wire.JSONDecodeError as error:
        raise BadConfiguration(f"{path}: not valid JSON: {error}") from error
    if not isinstance(document, dict):
        raise BadConfiguration(f"{path}: must be a JSON object, not {_kind(document)}")
    return document


def _judge(path: Path, document: dict[str, Any], warnings: list[str], notes: list[str]) -> None:
    """Refuse, warn of or note every key that is not honoured."""
    build_only = []
    for written, value in _options(path, document):
        key = written.replace("-", "_")  # the old spelling of some options of `http`
        asks = value is not None and value is not False and value not in ({}, [], "")
        if written in BUILD_ONLY:
            build_only.append(written)
        elif key in REFUSED:
            if asks:
                raise _bad(path, written, REFUSED[key])
        elif key in UNHONOURED:
            if asks and not (key == "checkpointer.backend" and value == "default"):
                warnings.append(f"{path}: {written} is ignored: {UNHONOURED[key]}")
        elif key in NOT_SERVED:
            if asks:
                notes.append(f"{path}: {written}: holds anyway, there is no such thing yet")
        elif written not in HONOURED:
            warnings.append(f"{path}: {written} is ignored: unknown key")
    if build_only:
        notes.append(f"{path}: only for building images, ignored: {', '.join(build_only)}")
    wanted, running = document.get("python_version"), f"{sys.version_info.major}.{sys.version_info.minor}"
    if wanted is not None and ".".join(str(wanted).split(".")[:2]) != running:
        warnings.append(f"{path}: python_version is {wanted}, but this is Python {running}")


def _options(path: Path, document: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in document.items():
        if key not in SECTIONS:
            yield key, value
        elif value is not None:
            for option, setting in _object(path, key, value).items():
                yield f"{key}.{option}", setting


def _graphs(path: Path, value: Any, own: Any) -> dict[str, GraphSpec]:
    if value is None or value == {}:
        raise _bad(path, "graphs", 'missing; it says what to serve, e.g. {"agent": "./agent.py:graph"}')
    options = _own_options(path, own)
    found = {
        graph_id: evolve(_graph(path, graph_id, entry), **options.pop(graph_id, {}))
        for graph_id, entry in _object(path, "graphs", value).items()
    }
    for graph_id in options:
        raise _bad(path, f"gatewayd.graphs.{graph_id}", "there is no such graph")
    return found


def _own_options(path: Path, value: Any) -> dict[str, dict[str, str]]:
    """Read what only gatewayd knows of graphs: ``{"<id>": {"on_restart": "…"}}``."""
    options: dict[str, dict[str, str]] = {}
    for graph_id, entry in _object(path, "gatewayd.graphs", {} if value is None else value).items():
        key = f"gatewayd.graphs.{graph_id}"
        options[graph_id] = {}
        for name, chosen in _object(path, key, entry).items():
            if name != "on_restart":
                raise _bad(path, f"{key}.{name}", "unknown option; there is on_restart")
            if chosen not in ON_RESTART:
                raise _bad(path, f"{key}.{name}", f"must be {' or '.join(ON_RESTART)}")
            options[graph_id][name] = chosen
    return options


def _graph(path: Path, graph_id: str, entry: Any) -> GraphSpec:
    key = f"graphs.{graph_id}"
    if not graph_id:
        raise _bad(path, "graphs", "a graph's id is empty")
    description = None
    if isinstance(entry, dict):
        if entry.get("description") is not None:
            description = _text(path, f"{key}.description", entry["description"])
        entry = entry.get("path")
    spec = GraphSpec(graph_id=graph_id, path=_text(path, key, entry), description=description)
    if spec.location.endswith(JS_SUFFIXES) or spec.path.endswith(JS_SUFFIXES):
        raise _bad(
            path, key, f"{spec.path}: JavaScript graphs are not supported; gatewayd runs Python graphs"
        )
    if not spec.location or not spec.attribute or "/" in spec.attribute:
        raise _bad(path, key, f"{spec.path!r} must be './file.py:attribute' or 'package.module:attribute'")
    if spec.is_file:
        if not (path.parent / spec.location).is_file():
            raise _bad(path, key, f"{spec.path}: there is no file {path.parent / spec.location}")
    elif spec.location.endswith(".py"):
        raise _bad(path, key, f"{spec.path}: without a slash this is a module's name; write ./{spec.path}")
    return spec


def _dependencies(path: Path, value: Any, warnings: list[str]) -> tuple[str, ...]:
    dependencies = _texts(path, "dependencies", [] if value is None else value)
    for dependency in dependencies:
        looks_like_a_path = dependency.startswith(".") or "/" in dependency
        if looks_like_a_path and not (path.parent / dependency).is_dir():
            warnings.append(f"{path}: dependencies: {dependency} is ignored: no such folder")
    return dependencies


def _env(path: Path, value: Any, warnings: list[str]) -> dict[str, str]:
    if value is None or value == "":
        return {}
    if isinstance(value, str):
        return _checked(path, f"env: {value}", _dotenv(path, value, warnings))
    variables = _object(path, "env", value)
    return _checked(path, "env", {name: _variable(path, name, item) for name, item in variables.items()})


def _dotenv(path: Path, name: str, warnings: list[str]) -> dict[str, str]:
    file = path.parent / name
    if not file.is_file():
        warnings.append(f"{path}: env: {name} is ignored: no such file")
        return {}
    import dotenv  # here, because most projects don't need it and the start is counted in milliseconds

    try:
        variables = dotenv.dotenv_values(file)
    except (OSError, UnicodeDecodeError) as error:
        raise _bad(path, "env", f"{file} can't be read: {error}") from error
    return {variable: value for variable, value in variables.items() if value is not None}


def _variable(path: Path, name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return _text(path, f"env.{name}", value, empty=True)


def _checked(path: Path, key: str, variables: dict[str, str]) -> dict[str, str]:
    """Refuse what no process can have in its environment, before a worker's start trips over it."""
    for name, value in variables.items():
        if not name or "=" in name or "\0" in name or "\0" in value:
            raise _bad(path, key, f"{name!r} can't be an environment variable")
    return variables


def _cors(path: Path, value: Any, warnings: list[str]) -> Cors | None:
    if value is None:
        return None
    given = {name: item for name, item in _object(path, "http.cors", value).items() if item is not None}
    fields: dict[str, Any] = {}
    for name, item in given.items():
        key = f"http.cors.{name}"
        match name:
            case "allow_origins" | "allow_methods" | "allow_headers" | "expose_headers":
                fields[name] = _texts(path, key, item)
            case "allow_credentials":
                fields[name] = _flag(path, key, item)
            case "allow_origin_regex":
                fields[name] = _pattern(path, key, item)
            case "max_age":
                fields[name] = _seconds(path, key, item)
            case _:
                warnings.append(f"{path}: {key} is ignored: unknown key")
    if "allow_methods" in fields:
        wanted = tuple(method.upper() for method in fields["allow_methods"])
        fields["allow_methods"] = CORS_METHODS if "*" in wanted else wanted
    if not fields.get("allow_origins") and "allow_origin_regex" not in fields:
        warnings.append(
            f"{path}: http.cors names no origin (allow_origins, allow_origin_regex): none is allowed"
        )
    return Cors(**fields)


def _retention(path: Path, value: Any, warnings: list[str]) -> Retention:
    fields: dict[str, Any] = {}
    for name, item in _object(path, "checkpointer.ttl", {} if value is None else value).items():
        key = f"checkpointer.ttl.{name}"
        if item is None:
            continue
        match name:
            case "strategy":
                if item not in STRATEGIES:
                    raise _bad(path, key, f"must be {' or '.join(STRATEGIES)}")
                fields[name] = item
            case "default_ttl" | "sweep_interval_minutes":
                fields[name] = _minutes(path, key, item)
            case "sweep_limit":
                if type(item) is not int or item <= 0:
                    raise _bad(path, key, "must be a whole number of threads, more than 0")
                fields[name] = item
            case _:
                warnings.append(f"{path}: {key} is ignored: unknown key")
    return Retention(**fields)


def _serde(path: Path, value: Any, warnings: list[str]) -> dict[str, Any]:
    """Read what checkpoints may hold. A null says something here: nothing but langgraph's own safe types."""
    fields: dict[str, Any] = {}
    for name, item in _object(path, "checkpointer.serde", {} if value is None else value).items():
        key = f"checkpointer.serde.{name}"
        match name:
            case "allowed_json_modules":
                fields[name] = _symbols(path, key, item, ["my_agent", "my_file", "SomeType"])
            case "allowed_msgpack_modules":
                fields[name] = _symbols(path, key, item, ["my_agent.my_file", "SomeType"], 2)
            case "pickle_fallback":
                fields[name] = item is not None and _flag(path, key, item)
            case _:
                warnings.append(f"{path}: {key} is ignored: unknown key")
    return fields


def _symbols(
    path: Path, key: str, value: Any, example: list[str], most: int | None = None
) -> list[list[str]] | bool | None:
    """Read which classes may be made of stored data: a list of them, true for all, null or false for none."""
    if value is None or isinstance(value, bool):
        return value or None
    if not isinstance(value, list):
        raise _bad(path, key, f"must be a list, true or null, not {_kind(value)}")
    for index, symbol in enumerate(value):
        if not isinstance(symbol, list) or len(symbol) < 2 or len(symbol) > (most or len(symbol)):
            raise _bad(path, f"{key}[{index}]", f"must be a list like {wire.text(example)}")
        _texts(path, f"{key}[{index}]", symbol)
    return value


def _minutes(path: Path, key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MOST_MINUTES:
        raise _bad(path, key, f"must be a number of minutes, more than 0 and at most {MOST_MINUTES:g}")
    return float(value)


def _store_index(path: Path, value: Any, warnings: list[str]) -> StoreIndex | None:
    if not value:
        return None
    given = _known(path, "store.index", value, ("dims", "embed", "fields"), warnings)
    dims = given.get("dims")
    if isinstance(dims, bool) or not isinstance(dims, int) or dims < 1:
        raise _bad(path, "store.index.dims", "must be the number of numbers in a vector, 1 or more")
    fields = given.get("fields") or "$"
    index = StoreIndex(
        dims=dims,
        embed=_text(path, "store.index.embed", given.get("embed")),
        fields=_texts(path, "store.index.fields", [fields] if isinstance(fields, str) else fields),
    )
    location, colon, name = index.embed.rpartition(":")
    if not (location and colon and name):
        raise _bad(
            path, "store.index.embed", f"{index.embed!r} must be './file.py:function' or 'provider:model'"
        )
    if index.is_code and not (path.parent / location).is_file():
        raise _bad(path, "store.index.embed", f"{index.embed}: there is no file {path.parent / location}")
    return index


def _store_ttl(path: Path, value: Any, warnings: list[str]) -> StoreTtl:
    names = ("default_ttl", "refresh_on_read", "sweep_interval_minutes")
    given = _known(path, "store.ttl", value or {}, names, warnings)
    fields: dict[str, Any] = {}
    if "refresh_on_read" in given:
        fields["refresh_on_read"] = _flag(path, "store.ttl.refresh_on_read", given["refresh_on_read"])
    for name in ("default_ttl", "sweep_interval_minutes"):
        if name not in given:
            continue
        minutes = given[name]
        if isinstance(minutes, bool) or not isinstance(minutes, int | float) or not 0 < minutes < 1e9:
            raise _bad(path, f"store.ttl.{name}", "must be a number of minutes, more than 0")
        fields[name] = float(minutes)
    return StoreTtl(**fields)


def _known(path: Path, key: str, value: Any, names: tuple[str, ...], warnings: list[str]) -> dict[str, Any]:
    """Return an object's options that are not null; unknown ones are warned of."""
    given = {name: item for name, item in _object(path, key, value).items() if item is not None}
    for name in given.keys() - set(names):
        warnings.append(f"{path}: {key}.{name} is ignored: unknown key")
    return given


HEADER_VARIABLE = re.compile(r"\$\{\{\s*env\.([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")


def _webhooks(
    path: Path,
    document: dict[str, Any],
    env: Mapping[str, str],
    environ: Mapping[str, str],
    warnings: list[str],
) -> WebhookRules:
    """Read the section ``webhooks``; variables in headers are looked up in the project's env, then in the process's."""
    section = _object(path, "webhooks", document.get("webhooks") or {})
    prefix = _text(path, "webhooks.env_prefix", section.get("env_prefix") or "LG_WEBHOOK_")
    headers = {
        name: _header(path, f"webhooks.headers.{name}", value, prefix, {**environ, **env})
        for name, value in _object(path, "webhooks.headers", section.get("headers") or {}).items()
    }
    switched_off = (document.get("http") or {}).get("disable_webhooks")
    fields: dict[str, Any] = {"headers": headers, "sent": not switched_off}
    url = section.get("url")
    if url is not None:
        fields["require_https"] = True
        for name, value in _object(path, "webhooks.url", url).items():
            key = f"webhooks.url.{name}"
            if value is None:
                continue
            match name:
                case "require_https":
                    fields[name] = _flag(path, key, value)
                case "disable_loopback":
                    fields["loopback"] = not _flag(path, key, value)
                case "allowed_domains":
                    fields[name] = tuple(domain.lower() for domain in _texts(path, key, value))
                case "allowed_ports":
                    fields[name] = _ports(path, key, value)
                case "max_url_length":
                    fields[name] = _seconds(path, key, value, "characters")
                case _:
                    warnings.append(f"{path}: {key} is ignored: unknown key")
    return WebhookRules(**fields)


def _header(path: Path, key: str, value: Any, prefix: str, variables: Mapping[str, str]) -> str:
    def found(match: re.Match[str]) -> str:
        name = match[1]
        if not name.startswith(prefix):
            raise _bad(path, key, f"the variable {name} must begin with {prefix}")
        if name not in variables:
            raise _bad(path, key, f"the environment variable {name} is not set")
        return variables[name]

    text = HEADER_VARIABLE.sub(found, _text(path, key, value, empty=True))
    if any(character in text for character in "\r\n\0"):
        raise _bad(path, key, "must be one line")
    return text


def _ports(path: Path, key: str, value: Any) -> tuple[int, ...]:
    ports = value if isinstance(value, list) else None
    if ports is None or not all(type(port) is int and 0 < port < 65536 for port in ports):
        raise _bad(path, key, "must be a list of ports")
    return tuple(ports)


def _object(path: Path, key: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _bad(path, key, f"must be an object, not {_kind(value)}")
    return value


def _text(path: Path, key: str, value: Any, *, empty: bool = False) -> str:
    if not isinstance(value, str):
        raise _bad(path, key, f"must be a string, not {_kind(value)}")
    if not value and not empty:
        raise _bad(path, key, "must not be empty")
    return value


def _texts(path: Path, key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise _bad(path, key, f"must be a list of strings, not {_kind(value)}")
    return tuple(_text(path, f"{key}[{index}]", item) for index, item in enumerate(value))


def _flag(path: Path, key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _bad(path, key, f"must be true or false, not {_kind(value)}")
    return value


def _seconds(path: Path, key: str, value: Any, unit: str = "seconds") -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _bad(path, key, f"must be a whole number of {unit}, 0 or more")
    return value


def _pattern(path: Path, key: str, value: Any) -> str:
    pattern = _text(path, key, value)
    try:
        re.compile(pattern)
    except re.error as error:
        raise _bad(path, key, f"not a regular expression: {error}") from error
    return pattern


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case str():
            return "a string"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case _:
            return "an object"
