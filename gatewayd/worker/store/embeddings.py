"""The project's embedding, kept where it can't hurt anybody: texts in, vectors out, within a deadline.

A function that blocks or hangs must not hold up the service worker, which answers for states and the store.
So coroutines run in an event loop of their own, in a thread of their own (a client keeps its connections
there), and synchronous functions in a few threads that nobody else uses. Who waits for a vector holds no lock
and no transaction.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

import sqlite_vec  # type: ignore[import-untyped]
from attrs import define, field
from langchain_core.embeddings import Embeddings
from langgraph.store.base.embed import EmbeddingsLambda, ensure_embeddings

from gatewayd.errors import GatewaydError, Rejected, Unanswered
from gatewayd.model import items
from gatewayd.worker.project import importing, usercode

log = logging.getLogger(__name__)

THREADS = 8
"""Synchronous embeddings at a time."""


class EmbeddingFailed(GatewaydError):
    """The embedding raised something, or returned what are no vectors."""


@define(eq=False)
class Embedder:
    """Makes vectors of texts; `close` when nobody asks any more."""

    embeddings: Embeddings
    name: str
    """What the project calls it, for messages."""
    dims: int
    deadline_s: float
    _pool: concurrent.futures.ThreadPoolExecutor = field(init=False)
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._pool = concurrent.futures.ThreadPoolExecutor(THREADS, thread_name_prefix="embedding")
        if not self._is_blocking():
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=_serve, args=(self._loop,), name="embeddings", daemon=True).start()

    def _is_blocking(self) -> bool:
        """Whether there is only a synchronous function."""
        if isinstance(self.embeddings, EmbeddingsLambda):
            return hasattr(self.embeddings, "func")
        return type(self.embeddings).aembed_documents is Embeddings.aembed_documents

    async def vectors(self, texts: Sequence[str]) -> list[bytes]:
        """
        Return a vector of each text, as sqlite-vec stores them.

        Raises `Unanswered` after the deadline, `Rejected` for a ValueError of the embedding,
        `EmbeddingFailed` else.
        """
        if not texts:
            return []
        under_way = self._begin([*texts])
        try:
            async with asyncio.timeout(self.deadline_s):
                found = await asyncio.wrap_future(under_way)
        except TimeoutError:
            if under_way.done() and not under_way.cancelled():
                raise self._failed(under_way.exception()) from None  # its own
            raise self._late() from None
        except Exception as error:
            raise self._failed(error) from error
        return self._checked(found, len(texts))

    def vectors_blocking(self, texts: Sequence[str]) -> list[bytes]:
        """Do the same in a thread that may wait. Raises the same."""
        if not texts:
            return []
        under_way = self._begin([*texts])
        try:
            found = under_way.result(self.deadline_s)
        except TimeoutError:
            if under_way.done():
                raise self._failed(under_way.exception()) from None
            under_way.cancel()
            raise self._late() from None
        except Exception as error:
            raise self._failed(error) from error
        return self._checked(found, len(texts))

    def _begin(self, texts: list[str]) -> concurrent.futures.Future[Any]:
        if self._loop is None:
            return self._pool.submit(self.embeddings.embed_documents, texts)
        asked: Coroutine[Any, Any, Any] = self.embeddings.aembed_documents(texts)
        return asyncio.run_coroutine_threadsafe(asked, self._loop)

    def _late(self) -> Unanswered:
        return Unanswered(f"the embedding {self.name} did not answer within {self.deadline_s:.3g} s")

    def _failed(self, error: BaseException | None) -> GatewaydError:
        if isinstance(error, ValueError):
            return Rejected(str(error))
        log.error("the embedding %s failed", self.name, exc_info=error)
        return EmbeddingFailed(f"the embedding {self.name} failed with {type(error).__name__}; see the log")

    def _checked(self, found: Any, count: int) -> list[bytes]:
        try:
            vectors = [[float(number) for number in vector] for vector in found]
        except (TypeError, ValueError):
            raise EmbeddingFailed(f"the embedding {self.name} did not return lists of numbers") from None
        if len(vectors) != count:
            raise EmbeddingFailed(
                f"the embedding {self.name} returned {len(vectors)} vectors for {count} texts"
            )
        for vector in vectors:
            if len(vector) != self.dims:
                raise EmbeddingFailed(
                    f"the embedding {self.name} returned {len(vector)} numbers a vector, but store.index.dims is {self.dims}"
                )
        return [sqlite_vec.serialize_float32(vector) for vector in vectors]

    def close(self) -> None:
        """Let go of the threads; one that hangs is left."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    """Run a loop until it is stopped; what is under way in it then is cancelled."""
    loop.run_forever()
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def load(index: items.StoreIndex, folder: Path, deadline_s: float) -> Embedder:
    """Return the embedder that the project asks for. Raises `LoadError`."""
    if index.is_code:
        target: Any = usercode.load(index.embed, folder)
        if not (isinstance(target, Embeddings) or callable(target)):
            raise usercode.LoadError(index.embed, "store.index.embed: neither a function nor Embeddings")
    else:
        target = index.embed
    try:
        with importing.as_script(index.embed):  # a provider's package is imported here
            embeddings = ensure_embeddings(target)
    except (
        Exception
    ) as error:  # of langchain or of the provider's package: a model, a key, a package is missing
        cause = (
            f"store.index.embed: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        )
        raise usercode.LoadError(index.embed, cause) from error
    return Embedder(embeddings, index.embed, index.dims, deadline_s)
