"""The questions that wait for an answer: interrupts, read from the rows that tasks have written.

A question is open when its INTERRUPT write is the task's newest and no newer RESUME write has answered it. It
is read in the namespace of the task that asked: the rows of the tasks above it repeat the question, but while
the subgraph goes on they are stale.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.types import Interrupt, StateSnapshot

from gatewayd.blobs import join
from gatewayd.checkpointing import pieces, reader, rows

ERROR, INTERRUPT, RESUME = "__error__", "__interrupt__", "__resume__"
CONTROL = frozenset({ERROR, "__error_source_node__", INTERRUPT, RESUME})
"""
Channels that say what happened to a task; any other write means that the task has finished (langgraph's
rule).
"""


def writes_of(
    storage: reader.Reader, thread_id: str, namespace: str, checkpoint_id: str
) -> list[rows.WriteRow]:
    return _readable(storage, thread_id, storage.writes(thread_id, namespace, checkpoint_id))


def _readable(storage: reader.Reader, thread_id: str, writes: Iterable[rows.WriteRow]) -> list[rows.WriteRow]:
    """Return writes whose questions are in one piece; what else they have written is not looked at here."""
    joiner = join.Joiner(thread_id, storage, storage.seal)
    return [pieces.whole(write, joiner) if write.channel == INTERRUPT else write for write in writes]


def finished(writes: Sequence[rows.WriteRow], task_id: str) -> bool:
    return any(write.task_id == task_id and write.channel not in CONTROL for write in writes)


def _newest(writes: Sequence[rows.WriteRow], task_id: str, channel: str) -> rows.WriteRow | None:
    mine = [write for write in writes if write.task_id == task_id and write.channel == channel]
    return max(mine, key=lambda write: write.stamp, default=None)


def open_question(writes: Sequence[rows.WriteRow], task_id: str) -> rows.WriteRow | None:
    """Return the INTERRUPT write of a task that waits for an answer."""
    asked, answered = _newest(writes, task_id, INTERRUPT), _newest(writes, task_id, RESUME)
    if asked is None or (answered is not None and answered.stamp > asked.stamp):
        return None
    return None if finished(writes, task_id) else asked


def asks(writes: Sequence[rows.WriteRow], task_id: str, run_id: str) -> bool:
    question = open_question(writes, task_id)
    return question is not None and question.run_id == run_id


def open_answers(
    answers: dict[str, Any] | None, thread_id: str, snapshot: StateSnapshot, storage: reader.Reader
) -> dict[str, Any]:
    """Cut the answers to the questions that are still open."""
    if not answers:
        return {}
    still = set(open_questions(thread_id, snapshot, storage))
    return {interrupt_id: answer for interrupt_id, answer in answers.items() if interrupt_id in still}


def open_questions(thread_id: str, snapshot: StateSnapshot, storage: reader.Reader) -> Iterator[str]:
    """Yield the ids of the interrupts that wait for an answer, read where they were asked."""
    checkpoint_id = snapshot.config["configurable"].get("checkpoint_id")
    if checkpoint_id is None:
        return
    namespaces = storage.namespaces(thread_id)
    tasks = {task.id: task.name for task in snapshot.tasks}
    tasks = dict.fromkeys(tasks_that_ask(thread_id, checkpoint_id, storage), "") | tasks
    yield from _open_in(thread_id, "", checkpoint_id, list(tasks.items()), namespaces, storage)


def tasks_that_ask(thread_id: str, checkpoint_id: str, storage: reader.Reader) -> dict[str, list[Interrupt]]:
    """
    Return the root tasks that wait at an interrupt on a checkpoint, with their interrupts.

    Those that a command's Send has made are among them; no snapshot shows them, for langgraph makes them
    again of the command's writes.
    """
    writes = writes_of(storage, thread_id, "", checkpoint_id)
    questions = (
        (write.task_id, open_question(writes, write.task_id))
        for write in writes
        if write.channel == INTERRUPT
    )
    return {
        task_id: list(_interrupts(question, storage.serde))
        for task_id, question in questions
        if question is not None
    }


def updated_below(
    answers: dict[str, Any], thread_id: str, snapshot: StateSnapshot, storage: reader.Reader
) -> bool:
    """
    Whether a state update is the last that happened in a subgraph that has asked what is answered.

    The question is gone then, though nobody has answered it; the subgraph will ask again, and what a client
    says to what its thread still shows is meant for that, as it is after an update of the root.
    """
    asking = [
        task for task in snapshot.tasks if any(interrupt.id in answers for interrupt in task.interrupts)
    ]
    namespaces = storage.namespaces(thread_id)
    inner = [
        namespace
        for namespace in namespaces
        for task in asking
        if is_below(namespace, "", task.id, task.name)
    ]
    for place in namespaces:
        if any(place == outer or place.startswith(f"{outer}|") for outer in inner):
            newest = storage.latest(thread_id, place)
            if (
                newest is not None
                and newest.run_id == rows.OPERATION
                and not writes_of(storage, thread_id, place, newest.checkpoint_id)
            ):
                return True
    return False


def _open_in(
    thread_id: str,
    namespace: str,
    checkpoint_id: str,
    tasks: Sequence[tuple[str, str]],
    namespaces: Sequence[str],
    storage: reader.Reader,
) -> Iterator[str]:
    """
    Yield the open questions of tasks (id and name) of one checkpoint, and of the subgraphs that they have
    called.
    """
    writes = writes_of(storage, thread_id, namespace, checkpoint_id)
    for task_id, name in tasks:
        if finished(writes, task_id):
            continue
        inner = [place for place in namespaces if is_below(place, namespace, task_id, name)]
        question = open_question(writes, task_id)
        if question is not None:
            repeated = _asked_below(thread_id, inner, namespaces, storage)
            yield from (
                interrupt_id for interrupt_id in ids(question, storage.serde) if interrupt_id not in repeated
            )
        for place in inner:
            newest = storage.latest(thread_id, place)
            if newest is None:  # deleted between the two reads
                continue
            called = newest.checkpoint_id
            inner_tasks = {
                write.task_id: _name(write) for write in writes_of(storage, thread_id, place, called)
            }
            yield from _open_in(thread_id, place, called, sorted(inner_tasks.items()), namespaces, storage)


def _asked_below(
    thread_id: str, inner: Sequence[str], namespaces: Sequence[str], storage: reader.Reader
) -> frozenset[str]:
    """Return the ids of all that was ever asked in these namespaces and below them."""
    places = [
        namespace
        for namespace in namespaces
        if any(namespace == outer or namespace.startswith(f"{outer}|") for outer in inner)
    ]
    asked = _readable(
        storage,
        thread_id,
        (question for place in places for question in storage.questions(thread_id, place)),
    )
    return frozenset(interrupt_id for write in asked for interrupt_id in ids(write, storage.serde))


def _name(write: rows.WriteRow) -> str:
    """Return the name of a write's task, as far as its path has it (tasks made by Send have none)."""
    return write.task_path.rpartition(", ")[2]


def is_below(candidate: str, namespace: str, task_id: str, name: str) -> bool:
    """
    Whether a namespace is that of a subgraph which the task calls.

    It has one segment ``name:task`` more, and maybe a count. That of a subgraph with a memory of its own
    (``checkpointer=True``) consists of names alone.
    """
    above = [part.partition(":")[0] for part in namespace.split("|") if part and not part.isdecimal()]
    if name and candidate == "|".join([*above, name]):
        return True
    rest = candidate.removeprefix(f"{namespace}|") if namespace else candidate
    if rest == candidate and namespace:
        return False
    segment, *more = rest.split("|")
    return segment.endswith(f":{task_id}") and all(part.isdecimal() for part in more)


def ids(question: rows.WriteRow, serde: SerializerProtocol) -> Iterator[str]:
    for interrupt in _interrupts(question, serde):
        yield interrupt.id


def _interrupts(question: rows.WriteRow, serde: SerializerProtocol) -> Iterator[Interrupt]:
    value = serde.loads_typed((question.type, question.value))
    yield from value if isinstance(value, (list, tuple)) else [value]
