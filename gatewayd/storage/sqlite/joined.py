"""Joining whole states for those who read them, cheaply for those who read the same ones or the next ones.

What a state's manifest refers to — large pieces, each of them many elements of a list — is kept for a while.
The next state of the thread refers to the same ones and a few new ones, which have just come by on their way
to storage (`take`). So to a reader who follows a conversation nothing is read back from disk, and of many who
follow it the first one joins for all.
"""

from __future__ import annotations

import asyncio

from attrs import define, field

from gatewayd import tasks
from gatewayd.blobs import cache, cut, join
from gatewayd.model.event import Chunk
from gatewayd.model.state import State
from gatewayd.storage.sqlite import states as rows
from gatewayd.storage.sqlite.engine import snapshots

PIECES_BYTES = 32 << 20
"""What is kept of pieces …"""
WHOLE_BYTES = 16 << 20
"""… and of whole states."""


@define(eq=False)
class States:
    """Joins the states of all threads."""

    scanner: snapshots.SnapshotReader
    reads: int = field(default=0, init=False)
    """How often storage had to be asked."""
    _pieces: cache.LruCache = field(factory=lambda: cache.LruCache(PIECES_BYTES), init=False)
    _whole: cache.LruCache = field(factory=lambda: cache.LruCache(WHOLE_BYTES), init=False)
    _tasks: tasks.Group = field(factory=lambda: tasks.Group("states"), init=False)
    _under_way: dict[tuple[str, bytes], asyncio.Task[bytes]] = field(factory=dict, init=False)

    async def joined(self, thread_id: str, state: State) -> bytes:
        """Return the JSON of a thread's state. Raises `Unreadable`, also if it has been removed."""
        if isinstance(state, bytes):
            return state
        manifest = state.manifest
        found = self._whole.get(manifest)
        if found is not None:
            return found
        task = self._under_way.get((thread_id, manifest))
        if task is None:
            task = self._tasks.spawn(self._join(thread_id, manifest), "join a state", awaited=True)
            self._under_way[thread_id, manifest] = task
            task.add_done_callback(lambda _: self._under_way.pop((thread_id, manifest)))
        return await asyncio.shield(task)  # other readers may wait for it, too

    async def close(self) -> None:
        """Wait for the joins under way; what they read is open until then."""
        await self._tasks.join()

    async def _join(self, thread_id: str, manifest: bytes) -> bytes:
        content: dict[bytes, bytes] = {}
        missing = []
        with join.decoding():
            references = cut.references(manifest)
        for address in references:
            piece = self._pieces.get(address)
            if piece is None:
                missing.append(address)
            else:
                content[address] = piece
        if missing:
            self.reads += 1
            content |= await self.scanner.read(rows.contents, thread_id, missing)
            for address in missing:
                self._pieces.put(address, content[address])
        with join.decoding():
            found = join.assembled(manifest, lambda address: (content[address],))
        self._whole.put(manifest, found)
        return found

    def take(self, chunk: Chunk) -> None:
        """Keep the pieces that have come with a chunk: readers are about to ask for them."""
        joiner = join.Joiner(chunk.thread_id, join.NoBlobs())
        joiner.take(cut.Blob(*blob) for blob in chunk.blobs if blob[1] != cut.SEGMENT)
        # Not always with its texts: what the run has sent before in another piece does not come again.
        joiner.put_together(self._pieces.get)
        for address, content in joiner.content.items():
            self._pieces.put(address, content)
        for address, kind, body in chunk.blobs:
            if kind == cut.SEGMENT:
                below = [self._pieces.get(child) for child in cut.split(body)]
                if None not in below:
                    self._pieces.put(address, b"".join(filter(None, below)))
