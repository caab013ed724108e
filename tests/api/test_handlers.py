"""Handlers parse, call one thing and reply: what is stored they see through what they call."""

from __future__ import annotations

import ast
from pathlib import Path

import gatewayd

API = Path(gatewayd.__file__).parent / "api"
TELLS_OF_STORAGE = {"resources/metrics.py"}


def test_no_handler_asks_storage_itself() -> None:
    asking = {
        str(path.relative_to(API))
        for path in API.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "storage"
    }
    assert asking == TELLS_OF_STORAGE
