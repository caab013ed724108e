"""Waiting for the end of a run: requests that created it, and requests that joined it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator

from attrs import define, field, frozen

from gatewayd.errors import NotFound
from gatewayd.model.caller import Caller
from gatewayd.model.state import State
from gatewayd.storage import store


@frozen(kw_only=True)
class Ended:
    """How a run ended, for those who wait for it."""

    status: str
    """A run's final status, or "deleted"."""
    result: State | None
    error: dict[str, str] | None


DELETED = Ended(status="deleted", result=None, error=None)
"""The end of a run whose row is gone."""


@define(eq=False)
class Waiters:
    """The futures of all who wait, by run."""

    storage: store.Storage
    _waiting: defaultdict[str, list[asyncio.Future[Ended]]] = field(
        factory=lambda: defaultdict(list), init=False
    )

    def follow(self, run_id: str) -> asyncio.Future[Ended]:
        """Return a future of the end of a run that has not ended yet."""
        future: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self._waiting[run_id].append(future)
        return future

    @contextlib.asynccontextmanager
    async def following(
        self, whose: Caller, thread_id: str, run_id: str
    ) -> AsyncIterator[asyncio.Future[Ended]]:
        """Provide a future of the end of a run, which is not missed from then on. Raises `NotFound`."""
        future = self.follow(run_id)
        try:
            run = await self.storage.run_get(whose, thread_id, run_id)
            if run is None:
                raise NotFound("Run not found")
            if not run.active and not future.done():
                future.set_result(Ended(status=run.status, result=run.result, error=run.error))
            yield future
        finally:
            self._unfollow(run_id, future)

    async def wait(self, whose: Caller, thread_id: str, run_id: str) -> Ended:
        """Wait for the end of a run, or tell at once how it ended. Raises `NotFound`."""
        async with self.following(whose, thread_id, run_id) as end:
            return await end

    async def wait_anyhow(self, whose: Caller, thread_id: str, run_id: str) -> Ended:
        """Do the same; a run that is not there has been deleted."""
        try:
            return await self.wait(whose, thread_id, run_id)
        except NotFound:
            return DELETED

    def _unfollow(self, run_id: str, future: asyncio.Future[Ended]) -> None:
        if (waiting := self._waiting.get(run_id)) is not None and future in waiting:
            waiting.remove(future)
            if not waiting:
                del self._waiting[run_id]

    def tell(self, run_id: str, ended: Ended) -> None:
        """Tell all who wait for a run how it ended."""
        for future in self._waiting.pop(run_id, ()):
            if not future.done():
                future.set_result(ended)
