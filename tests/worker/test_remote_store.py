"""
The long-term store as a run worker has it: answers come in another thread, whatever has become of who has
asked.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from typing import Any

import orjson
import pytest
from langgraph.store.memory import InMemoryStore

from gatewayd.model import items as store_items
from gatewayd.worker.store import items

NOTHING = orjson.dumps([None])


class Link:
    """Notes the numbers of the questions."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def control(self, name: str, number: int, *_: Any) -> None:
        assert name == "ask"
        self.asked.append(number)


@pytest.fixture
def link() -> Link:
    return Link()


@pytest.fixture
def store(link: Link) -> items.RemoteStore:
    return items.RemoteStore(link, store_items.StoreTtl())  # type: ignore[arg-type]


def reply(store: items.RemoteStore, number: int, ok: bool, payload: Any) -> BaseException | None:
    """Hand an answer in as the reader thread does; return what that has raised there."""
    raised: list[BaseException] = []

    def read() -> None:
        try:
            store.replied(number, ok, payload)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    thread.join(30)
    return raised[0] if raised else None


async def test_an_answer_wakes_who_has_asked(store: items.RemoteStore, link: Link) -> None:
    asking = asyncio.ensure_future(store.aget(("a",), "k"))
    await asyncio.sleep(0)
    assert reply(store, link.asked[0], True, NOTHING) is None
    assert await asking is None


@pytest.mark.parametrize(("ok", "payload"), [(True, NOTHING), (False, "the store is gone")])
async def test_an_answer_to_a_call_that_was_cancelled_is_dropped(
    store: items.RemoteStore, link: Link, ok: bool, payload: Any
) -> None:
    asking = asyncio.ensure_future(store.aget(("a",), "k"))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert reply(store, link.asked[0], ok, payload) is None
    assert store._asked == {}


async def test_a_call_that_is_cancelled_while_its_answer_is_being_taken_breaks_nothing(
    store: items.RemoteStore, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader thread has found the question; its task is cancelled before the answer is set."""
    asking = asyncio.ensure_future(store.aget(("a",), "k"))
    await asyncio.sleep(0)
    loop, cancelled = asyncio.get_running_loop(), threading.Event()

    async def cancel() -> None:
        asking.cancel()
        await asyncio.wait([asking])
        cancelled.set()

    found = concurrent.futures.Future.set_running_or_notify_cancel
    (asked,) = store._asked.values()

    def slowly(future: concurrent.futures.Future[Any]) -> bool:
        answer = found(future)
        if future is not asked:  # of the pool that runs this
            return answer
        asyncio.run_coroutine_threadsafe(cancel(), loop)
        assert cancelled.wait(30)
        return answer

    monkeypatch.setattr(concurrent.futures.Future, "set_running_or_notify_cancel", slowly)
    assert await asyncio.to_thread(reply, store, link.asked[0], True, NOTHING) is None
    assert cancelled.is_set()
    assert asking.cancelled()


def test_an_answer_that_comes_after_its_deadline_is_dropped(
    store: items.RemoteStore, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(items, "DEADLINE_S", 0.0)
    with pytest.raises(TimeoutError):
        store.get(("a",), "k")
    assert reply(store, link.asked[0], True, NOTHING) is None
    assert reply(store, link.asked[0], True, NOTHING) is None, "a second answer to the same question"


class Peculiar(KeyError):
    """Can't be made of a text alone."""

    def __init__(self, key: str, place: str) -> None:
        super().__init__(key, place)


class OfTheProject(LookupError):
    """Of a module that both processes have loaded."""


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (ValueError("no such filter"), (ValueError, "no such filter")),
        (OfTheProject("gone"), (OfTheProject, "gone")),
        (KeyError("k"), (KeyError, "'k'")),
        (Peculiar("k", "p"), (KeyError, str(KeyError("('k', 'p')")))),
        (type("Local", (TimeoutError,), {})("late"), (TimeoutError, "late")),
    ],
)
async def test_what_the_store_raises_is_raised_again_with_its_class_or_the_nearest_that_is_known(
    store: items.RemoteStore, link: Link, raised: Exception, expected: tuple[type[Exception], str]
) -> None:
    class Failing(InMemoryStore):
        async def abatch(self, ops: Any) -> Any:
            raise raised

    asking = asyncio.ensure_future(store.aget(("a",), "k"))
    await asyncio.sleep(0)
    answer = await items.Answering(Failing()).batch(orjson.dumps([]), from_node=True)
    assert reply(store, link.asked[0], True, answer) is None
    with pytest.raises(expected[0]) as caught:
        await asking
    assert (type(caught.value), str(caught.value)) == expected
