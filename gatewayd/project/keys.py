"""Which keys the file may have, and what is said of those that are not honoured."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gatewayd.project import values

SECTIONS = frozenset({"http", "store", "checkpointer", "webhooks", "gatewayd"})
"""Keys whose value is an object of options that are judged one by one."""

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
"""
Switches that hold because what they switch off is not built; whoever builds it takes its switch out of here.
"""


def judge(path: Path, document: dict[str, Any], warnings: list[str], notes: list[str]) -> None:
    """Refuse, warn of or note every key that is not honoured."""
    build_only = []
    for written, value in _options(path, document):
        key = written.replace("-", "_")  # the old spelling of some options of `http`
        asks = value is not None and value is not False and value not in ({}, [], "")
        if written in BUILD_ONLY:
            build_only.append(written)
        elif key in REFUSED:
            if asks:
                raise values.bad(path, written, REFUSED[key])
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
            for option, setting in values.mapping(path, key, value).items():
                yield f"{key}.{option}", setting
