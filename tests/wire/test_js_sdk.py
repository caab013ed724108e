"""The official JavaScript client and its React hook, unmodified, under Node against a real server."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.wire import node

pytestmark = [node.needed, pytest.mark.slow, pytest.mark.xdist_group("clients")]


@pytest.mark.parametrize("version", node.SDKS)
def test_the_client_streams_joins_waits_answers_cancels_and_finds(
    served: str, version: str, tmp_path: Path
) -> None:
    node.run("sdk.mjs", node.environment(served, version, tmp_path))


@pytest.mark.parametrize("version", node.SDKS)
def test_a_page_shows_answers_asks_stops_rejoins_forks_and_switches(
    served: str, version: str, tmp_path: Path
) -> None:
    """
    `useStream` as it was before protocol v2, in jsdom, its requests held to the rules of a page elsewhere.
    """
    node.run("use_stream.mjs", node.environment(served, version, tmp_path))


def test_a_queue_that_is_kept_on_the_server_is_listed_cancelled_taken_and_merged(
    served: str, tmp_path: Path
) -> None:
    """Only the newer client has it."""
    node.run("queue_server.mjs", node.environment(served, "1.15.0", tmp_path))
