"""The thread streams of the official JavaScript client under Node: protocol v2."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.wire import node

pytestmark = [node.needed, pytest.mark.slow, pytest.mark.xdist_group("clients")]


def test_a_thread_is_streamed_over_both_transports(served: str, tmp_path: Path) -> None:
    node.run("thread_stream.mjs", node.environment(served, "1.15.0", tmp_path))
