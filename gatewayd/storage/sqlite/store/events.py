"""Operations on the log of events."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Any

from gatewayd import ids
from gatewayd.model.event import Chunk, Draft
from gatewayd.storage.events import EVENT_PAGE_BYTES, EVENT_PAGE_CHUNKS, Chain
from gatewayd.storage.sqlite import blobs, events, runs
from gatewayd.storage.sqlite.engine import numbering
from gatewayd.storage.sqlite.store import base
from gatewayd.storage.sqlite.store.binding import written


class Events(base.Base):
    """Operations on the log, and on what comes from workers with it."""

    __slots__ = ()

    def events_append(
        self,
        draft: Draft,
        on_stored: Callable[[Chunk], None],
        on_error: Callable[[BaseException], None],
        chain: Chain | None = None,
    ) -> None:
        self.writer.post(
            events.append, draft, on_stored=on_stored, on_error=on_error, weight=draft.weight, chain=chain
        )

    def parts_store_if_running(
        self,
        thread_id: str,
        run_id: str,
        some: Sequence[Sequence[Any]],
        weight: int,
        on_stored: Callable[[None], None],
        on_error: Callable[[BaseException], None],
    ) -> None:
        self.writer.post(
            blobs.parts_store_if_running,
            thread_id,
            run_id,
            some,
            on_stored=on_stored,
            on_error=on_error,
            weight=weight,
        )

    def checkpoint_apply(
        self,
        operation: list[Any],
        run_id: str,
        weight: int,
        on_stored: Callable[[BaseException | None], None],
        chain: Chain,
    ) -> None:
        self.writer.post(
            runs.run_checkpoint_apply,
            operation,
            run_id,
            on_stored=on_stored,
            on_error=on_stored,
            weight=weight,
            chain=chain,
        )

    async def events_page(self, thread_id: str, after: int, run_id: str | None = None) -> list[Chunk]:
        parameters = {
            "thread_id": thread_id,
            "run_id": run_id,
            "after": after,
            "bytes": EVENT_PAGE_BYTES,
            "chunks": EVENT_PAGE_CHUNKS,
        }
        statement = events.PAGE if run_id is None else events.PAGE_OF_RUN
        return [events.chunk(row) for row in await self.readers.rows(statement, parameters)]

    async def chunk_joined(self, chunk: Chunk, kinds: Container[str] | None = None) -> Chunk:
        if not chunk.parts:
            return chunk
        found: dict[int, bytes] = {}
        for number in chunk.needed(kinds):
            state = await self.state_joined(chunk.thread_id, chunk.parts[number])
            if state is not None:
                found[number] = state
        return chunk.whole(found)

    async def events_replay_start(self, thread_id: str, since: int) -> int | None:
        rows = await self.readers.rows(events.REPLAY_START, {"thread_id": thread_id, "since": since})
        return rows[0][0]  # type: ignore[no-any-return]

    async def runs_over_before_the_last(self, thread_id: str, after: int) -> list[str]:
        return [
            run_id for (run_id,) in await self.readers.rows(events.OVER_BEFORE_THE_LAST, (thread_id, after))
        ]

    async def run_newest_if_recent(self, thread_id: str, since: int) -> str | None:
        rows = await self.readers.rows(events.NEWEST_RUN, (since, thread_id))
        return rows[0][0] if rows and rows[0][1] else None

    async def events_gap(self, thread_id: str, after: int) -> int | None:
        rows = await self.readers.rows(events.GAP, (thread_id, after))
        return rows[0][0] if rows else None

    async def run_events_gap(self, thread_id: str, run_id: str, after: int) -> tuple[int, int] | None:
        rows = await self.readers.rows(events.GAP_OF_RUN, (run_id, thread_id, after))
        return (rows[0][0], rows[0][1]) if rows else None

    async def threads_to_prune(
        self, before: int, behind: tuple[int, str], limit: int
    ) -> list[tuple[int, str]]:
        rows = await self.readers.rows(events.TO_PRUNE, (before, *behind, limit))
        return [(since, thread_id) for since, thread_id in rows]

    thread_events_prune_step = written(events.prune_step)

    async def events_last(self, thread_id: str) -> tuple[int, int]:
        rows = await self.readers.rows(numbering.LAST, (thread_id,))
        return (rows[0][0], rows[0][1]) if rows else (0, 0)

    async def run_events_before(self, thread_id: str, run_id: str, checkpoint_id: str) -> int | None:
        made = ids.checkpoint_time_ms(checkpoint_id)
        if made is None:
            return None
        parameters = {
            "thread_id": thread_id,
            "run_id": run_id,
            "checkpoint_id": checkpoint_id,
            "time_ms": made,
        }
        rows = await self.readers.rows(events.LAST_OLDER, parameters)
        return rows[0][0] if rows else None
