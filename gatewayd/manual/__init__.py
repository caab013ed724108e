"""The manual: a page for each topic, as reStructuredText that reads well as plain text.

`gatewayd help TOPIC` prints a page, and the server shows it at ``/docs/TOPIC``. The list of settings is
made from the docstrings of `gatewayd.settings`, so that what a setting means is written once.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from importlib import resources
from typing import Final

TOPICS: Final = {
    "compatibility": "which clients and endpoints there are, and what is different from the reference server",
    "requests": "searching threads, idempotency keys, why a run waits and why it failed",
    "crons": "runs by the clock",
    "webhooks": "telling a URL that a run has ended",
    "store": "the long-term store: search by meaning, times to live",
    "states": "what checkpoints may hold, and encrypting them",
    "exposing": "pages of other origins, proxies, names of the server",
    "operating": "stopping, reloading, what survives what, memory, disk space, backup, metrics",
    "settings": "all settings, with their defaults and variables",
    "contributing": "how gatewayd is built, checked and tested, and where a new thing goes",
}
"""The pages, in the order of the table of contents, each with what is in it."""


def contents() -> str:
    """Return the table of contents."""
    width = max(map(len, TOPICS))
    lines = [f"  {topic:<{width}}  {about}" for topic, about in TOPICS.items()]
    return "\n".join(["gatewayd help TOPIC prints a page of the manual:", "", *lines, ""])


def page(topic: str) -> str:
    """Return a page; KeyError if there is none of this name."""
    if topic not in TOPICS:
        raise KeyError(topic)
    text = resources.files(__name__).joinpath(f"{topic}.rst").read_text("utf-8")
    return f"{text}\n{_settings()}" if topic == "settings" else text


def _settings() -> str:
    """Return the list of all settings, from the source of their record."""
    source = resources.files("gatewayd").joinpath("settings.py").read_text("utf-8")
    entries = (
        f"``GATEWAYD_{name.upper()}``\n{textwrap.indent(textwrap.fill(_as_rst(about), 96), '   ')}\n"
        for name, about in _fields(ast.parse(source))
    )
    return "\n".join(entries)


def _fields(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield name and docstring of each setting."""
    (record,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Settings")
    for before, node in zip(record.body, record.body[1:], strict=False):
        match before, node:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(about))),
            ):
                yield name, " ".join(about.split())


def _as_rst(about: str) -> str:
    """Return a docstring's sentences with its names as literals; stars and bars stand for themselves."""
    literal = re.sub(r"`([^`]+)`", r"``\1``", about)
    parts = re.split(r"(``[^`]+``)", literal)
    return "".join(part if part.startswith("``") else re.sub(r"([*|\\])", r"\\\1", part) for part in parts)
