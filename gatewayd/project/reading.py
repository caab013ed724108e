"""Reading the file: each section by the module that knows it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from gatewayd import wire
from gatewayd.errors import BadConfiguration
from gatewayd.project import checkpointer, environment, graphs, http, keys, store, values, webhooks
from gatewayd.project.model import Project

SWITCHES = ("meta", "store")
"""Parts of the API that ``http.disable_…`` switches off."""


def read(path: Path, environ: Mapping[str, str] | None = None) -> Project:
    """
    Read a langgraph.json and the dotenv file it may name; `environ` are the variables for the headers of
    webhooks.

    Raises `BadConfiguration` with one line that tells the file, the key and the cause.
    """
    # The file itself may be a link (into a mounted volume): its folder is where the link stands.
    path = path.parent.resolve() / path.name
    document = _document(path)
    warnings: list[str] = []
    notes: list[str] = []
    keys.judge(path, document, warnings, notes)
    env = environment.read(path, document.get("env"), warnings)
    return Project(
        path=path,
        folder=path.parent,
        graphs=graphs.read(path, document.get("graphs"), (document.get("gatewayd") or {}).get("graphs")),
        dependencies=_dependencies(path, document.get("dependencies"), warnings),
        env=env,
        cors=http.cors(path, (document.get("http") or {}).get("cors"), warnings),
        webhooks=webhooks.read(path, document, env, environ or {}, warnings),
        retention=checkpointer.retention(path, (document.get("checkpointer") or {}).get("ttl"), warnings),
        serde=checkpointer.serde(path, (document.get("checkpointer") or {}).get("serde"), warnings),
        store_index=store.index(path, (document.get("store") or {}).get("index"), warnings),
        store_ttl=store.ttl(path, (document.get("store") or {}).get("ttl"), warnings),
        disabled=frozenset(part for part in SWITCHES if (document.get("http") or {}).get(f"disable_{part}")),
        warnings=tuple(warnings),
        notes=tuple(notes),
    )


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
        raise BadConfiguration(f"{path}: must be a JSON object, not {values.kind(document)}")
    return document


def _dependencies(path: Path, value: Any, warnings: list[str]) -> tuple[str, ...]:
    dependencies = values.texts(path, "dependencies", [] if value is None else value)
    for dependency in dependencies:
        if (path.parent / dependency).is_dir():
            continue
        if dependency.startswith((".", "/")):
            warnings.append(f"{path}: dependencies: {dependency} is ignored: no such folder")
        elif not _is_installed(dependency):
            warnings.append(
                f"{path}: dependencies: {dependency} is neither a folder nor installed in this environment"
            )
    return dependencies


def _is_installed(requirement: str) -> bool:
    """Whether a package is installed, whatever its version: ``name[extra]>=1``, ``name @ https://…``."""
    name = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*(?=\s*($|[\[<>=!~;@]))", requirement.strip())
    if name is None:
        return False
    try:
        metadata.distribution(name[0])
    except metadata.PackageNotFoundError:
        return False
    return True
