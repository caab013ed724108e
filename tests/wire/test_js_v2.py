"""The thread streams of the official JavaScript client under Node: protocol v2."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.wire import node

pytestmark = [node.needed, pytest.mark.slow, pytest.mark.xdist_group("clients")]


def test_a_thread_is_streamed_over_both_transports(served_more: str, tmp_path: Path) -> None:
    node.run("thread_stream.mjs", node.environment(served_more, "1.15.0", tmp_path))
