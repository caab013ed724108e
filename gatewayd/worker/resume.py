"""Where a run goes on: at its beginning, from its last checkpoint, or nowhere because it had ended already.

The rule (design §4) was tried on every kind of run, cut after every saver call; simpler ones end wrong. A run
has *begun* when storage holds a checkpoint or pending write made by it. A run that has begun is addressed by
the thread's latest checkpoint, never by `checkpoint_id`, and is *over* if

(a) that checkpoint is its own and no task comes next, or
(b) every task without a result waits at an interrupt whose write this run made, or
(c) that checkpoint is its own, none of its tasks has run, and a static breakpoint of the run is due there.

Otherwise it goes on with no input, or with those of its answers whose questions are still open. `update` and
`goto` are never given twice.

With `strict_resume` answers are not cut at the first start: the graph refuses those that answer nothing
(`UnknownInterruptError`), and the thread stays as it was.

A question is open when its INTERRUPT write is the task's newest and no newer RESUME write has answered it. It
is read in the namespace of the task that asked: the rows of the tasks above it repeat the question, but while
the subgraph goes on they are stale.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from attrs import field, frozen
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.types import Command, Interrupt, Send, StateSnapshot

from gatewayd.blobs import join
from gatewayd.channel import orders
from gatewayd.checkpointing import pieces, reader, rows
from gatewayd.model.run import RESUMING
from gatewayd.worker import checkpoints, graphs

ERROR, INTERRUPT, RESUME = "__error__", "__interrupt__", "__resume__"
CONTROL = frozenset({ERROR, "__error_source_node__", INTERRUPT, RESUME})
"""
Channels that say what happened to a task; any other write means that the task has finished (langgraph's
rule).
"""

STRICT = "__pregel_strict_resume"
"""langgraph's key by which a graph refuses answers that it can't match to its open questions."""

HIDDEN = "langsmith:hidden"
"""Tag of nodes that "*" does not mean."""


@frozen(kw_only=True)
class Plan:
    """How this attempt begins."""

    input: Any = None
    """For `astream`: the run's input, a Command, or None to go on."""
    over: bool = False
    """The run had ended, or nothing of it is left: only its end is to be recorded."""
    config: RunnableConfig = field(factory=dict)  # type: ignore[assignment]  # all keys are optional
    """The config to stream with: with the run's `checkpoint_id` only if it has not begun."""


async def plan(
    order: orders.RunOrder,
    graph: graphs.AnyPregel,
    config: RunnableConfig,
    saver: checkpoints.Saver,
    storage: reader.Reader,
) -> Plan:
    """Decide how this attempt begins."""
    begun = order.attempt > 1 and storage.run_has_begun(order.run_id)
    if not begun:
        return await _first(order, graph, await _forked(order, config, saver), storage)
    newest = latest(config)
    snapshot = await graph.aget_state(newest, subgraphs=True)
    checkpoint = await saver.aget_tuple(newest)
    if checkpoint is None or _is_over(order, graph, snapshot, storage):
        return Plan(over=checkpoint is not None, input=order.kwargs.get("input"), config=newest)
    answers = _open_answers(order.answers, order.thread_id, snapshot, storage)
    return Plan(input=Command(resume=answers) if answers else None, config=newest)


async def _forked(order: orders.RunOrder, config: RunnableConfig, saver: checkpoints.Saver) -> RunnableConfig:
    """
    Return the config with the place at which a new input is to be added.

    That is not behind another input: a checkpoint that only took one has the values of its parent. Front ends
    that edit a message name such a checkpoint, and their edits are versions of one message only if they have
    one parent.
    """
    place = config["configurable"]
    known = order.kwargs.get("command") or order.kwargs.get("input") is None or place.get(RESUMING)
    while place.get("checkpoint_id") and not place.get("checkpoint_ns") and not known:
        checkpoint = await saver.aget_tuple(config)
        if (
            checkpoint is None
            or checkpoint.parent_config is None
            or checkpoint.metadata.get("source") != "input"
        ):
            break
        place = {**place, "checkpoint_id": checkpoint.parent_config["configurable"]["checkpoint_id"]}
        config = {**config, "configurable": place}
    return config


async def _first(
    order: orders.RunOrder, graph: graphs.AnyPregel, config: RunnableConfig, storage: reader.Reader
) -> Plan:
    command = {key: value for key, value in (order.kwargs.get("command") or {}).items() if value is not None}
    known = {key: command[key] for key in ("resume", "update", "goto") if key in command}
    if not known:
        return Plan(input=order.kwargs.get("input"), config=config)
    if "resume" in known and order.kwargs.get("strict_resume"):
        # langgraph refuses what answers no open question, before anything is written. An empty map stays one.
        if order.answers is not None and known["resume"] != {}:
            known["resume"] = order.answers
        return Plan(input=command_of(known), config=_strictly(config))
    if order.answers is not None:
        snapshot = await graph.aget_state(latest(config), subgraphs=True)
        answers = _open_answers(order.answers, order.thread_id, snapshot, storage)
        if answers:
            known["resume"] = answers
        elif not _updated_below(order.answers, order.thread_id, snapshot, storage):
            del known["resume"]
            if not known:  # what it answers has been answered: by the first click of two
                return Plan(over=True, config=latest(config))
    return Plan(input=command_of(known), config=config)


def command_of(command: dict[str, Any]) -> Command[Any]:
    """Make langgraph's command of the wire's."""
    known = ("resume", "update", "goto")
    fields = {key: value for key, value in command.items() if key in known and value is not None}
    if "goto" in fields:
        goto = fields["goto"]
        fields["goto"] = [_target(one) for one in goto] if isinstance(goto, list) else _target(goto)
    if isinstance(fields.get("update"), list):
        fields["update"] = [tuple(pair) for pair in fields["update"]]
    return Command(**fields)


def _target(goto: Any) -> Any:
    return Send(goto["node"], goto.get("input")) if isinstance(goto, dict) else goto


def _strictly(config: RunnableConfig) -> RunnableConfig:
    return {**config, "configurable": {**config["configurable"], STRICT: True}}


def latest(config: RunnableConfig) -> RunnableConfig:
    """Return the config that addresses the thread's latest root checkpoint."""
    configurable = {
        key: value
        for key, value in config["configurable"].items()
        if key not in {"checkpoint_id", "checkpoint_ns", "checkpoint_map"}
    }
    return {**config, "configurable": configurable}


# whether it is over


def _is_over(
    order: orders.RunOrder, graph: graphs.AnyPregel, snapshot: StateSnapshot, storage: reader.Reader
) -> bool:
    place = snapshot.config["configurable"]
    key = (order.thread_id, "", place.get("checkpoint_id", ""))
    checkpoint = storage.by_id(*key)
    own = checkpoint is not None and checkpoint.run_id == order.run_id
    if own and not snapshot.tasks:
        return True
    writes = _writes(storage, *key)
    unfinished = [task for task in snapshot.tasks if not _finished(writes, task.id)]
    if unfinished and all(_asks(writes, task.id, order.run_id) for task in unfinished):
        return True
    return own and not writes and _breakpoint_due(order, graph, snapshot, storage)


def _writes(
    storage: reader.Reader, thread_id: str, namespace: str, checkpoint_id: str
) -> list[rows.WriteRow]:
    return _readable(storage, thread_id, storage.writes(thread_id, namespace, checkpoint_id))


def _readable(storage: reader.Reader, thread_id: str, writes: Iterable[rows.WriteRow]) -> list[rows.WriteRow]:
    """Return writes whose questions are in one piece; what else they have written is not looked at here."""
    joiner = join.Joiner(thread_id, storage, storage.seal)
    return [pieces.whole(write, joiner) if write.channel == INTERRUPT else write for write in writes]


def _finished(writes: Sequence[rows.WriteRow], task_id: str) -> bool:
    return any(write.task_id == task_id and write.channel not in CONTROL for write in writes)


def _newest(writes: Sequence[rows.WriteRow], task_id: str, channel: str) -> rows.WriteRow | None:
    mine = [write for write in writes if write.task_id == task_id and write.channel == channel]
    return max(mine, key=lambda write: write.stamp, default=None)


def _question(writes: Sequence[rows.WriteRow], task_id: str) -> rows.WriteRow | None:
    """Return the INTERRUPT write of a task that waits for an answer."""
    asked, answered = _newest(writes, task_id, INTERRUPT), _newest(writes, task_id, RESUME)
    if asked is None or (answered is not None and answered.stamp > asked.stamp):
        return None
    return None if _finished(writes, task_id) else asked


def _asks(writes: Sequence[rows.WriteRow], task_id: str, run_id: str) -> bool:
    question = _question(writes, task_id)
    return question is not None and question.run_id == run_id


def _breakpoint_due(
    order: orders.RunOrder, graph: graphs.AnyPregel, snapshot: StateSnapshot, storage: reader.Reader
) -> bool:
    before = order.kwargs.get("interrupt_before") or graph.interrupt_before_nodes
    after = order.kwargs.get("interrupt_after") or graph.interrupt_after_nodes
    if before and any(_among(graph, task.name, before) for task in snapshot.tasks):
        return True
    return bool(after) and any(_among(graph, node, after) for node in _ran_last(snapshot, graph, storage))


def _among(graph: graphs.AnyPregel, node: str, wanted: str | Sequence[str]) -> bool:
    if wanted != "*":
        return node in wanted
    known = graph.nodes.get(node)
    return known is not None and HIDDEN not in (known.tags or ())


def _ran_last(snapshot: StateSnapshot, graph: graphs.AnyPregel, storage: reader.Reader) -> Iterator[str]:
    """Yield the nodes whose run made this checkpoint: those that have seen more than the parent's say."""
    own = _versions_seen(snapshot.config, graph)
    parent = _versions_seen(snapshot.parent_config, graph) if snapshot.parent_config else {}
    for node, seen in own.items():
        if node != INTERRUPT and seen != parent.get(node):
            yield node


def _versions_seen(config: RunnableConfig, graph: graphs.AnyPregel) -> dict[str, Any]:
    saver = graph.checkpointer
    found = saver.get_tuple(config) if isinstance(saver, checkpoints.Saver) else None
    return dict(found.checkpoint["versions_seen"]) if found is not None else {}


# answers and questions


def _open_answers(
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
    writes = _writes(storage, thread_id, "", checkpoint_id)
    questions = (
        (write.task_id, _question(writes, write.task_id)) for write in writes if write.channel == INTERRUPT
    )
    return {
        task_id: list(_interrupts(question, storage.serde))
        for task_id, question in questions
        if question is not None
    }


def _updated_below(
    answers: dict[str, Any], thread_id: str, snapshot: StateSnapshot, storage: reader.Reader
) -> bool:
    """
    Whether a state update is the last that happened in a subgraph that has asked what is answered.

    The question is gone then, though nobody has answered it; the subgraph will ask again, and what a client
    says to what its thread still shows is meant for that, as it is after an update of the root.
    """
    asking = [task for task in snapshot.tasks if any(one.id in answers for one in task.interrupts)]
    namespaces = storage.namespaces(thread_id)
    inner = [each for each in namespaces for task in asking if _is_below(each, "", task.id, task.name)]
    for place in namespaces:
        if any(place == one or place.startswith(f"{one}|") for one in inner):
            newest = storage.latest(thread_id, place)
            if (
                newest is not None
                and newest.run_id == rows.OPERATION
                and not _writes(storage, thread_id, place, newest.checkpoint_id)
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
    writes = _writes(storage, thread_id, namespace, checkpoint_id)
    for task_id, name in tasks:
        if _finished(writes, task_id):
            continue
        inner = [each for each in namespaces if _is_below(each, namespace, task_id, name)]
        question = _question(writes, task_id)
        if question is not None:
            repeated = _asked_below(thread_id, inner, namespaces, storage)
            yield from (each for each in _ids(question, storage.serde) if each not in repeated)
        for place in inner:
            newest = storage.latest(thread_id, place)
            if newest is None:  # deleted between the two reads
                continue
            called = newest.checkpoint_id
            inner_tasks = {
                write.task_id: _name(write) for write in _writes(storage, thread_id, place, called)
            }
            yield from _open_in(thread_id, place, called, sorted(inner_tasks.items()), namespaces, storage)


def _asked_below(
    thread_id: str, inner: Sequence[str], namespaces: Sequence[str], storage: reader.Reader
) -> frozenset[str]:
    """Return the ids of all that was ever asked in these namespaces and below them."""
    places = [each for each in namespaces if any(each == one or each.startswith(f"{one}|") for one in inner)]
    asked = _readable(
        storage,
        thread_id,
        (question for place in places for question in storage.questions(thread_id, place)),
    )
    return frozenset(interrupt_id for write in asked for interrupt_id in _ids(write, storage.serde))


def _name(write: rows.WriteRow) -> str:
    """Return the name of a write's task, as far as its path has it (tasks made by Send have none)."""
    return write.task_path.rpartition(", ")[2]


def _is_below(candidate: str, namespace: str, task_id: str, name: str) -> bool:
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


def _ids(question: rows.WriteRow, serde: SerializerProtocol) -> Iterator[str]:
    for interrupt in _interrupts(question, serde):
        yield interrupt.id


def _interrupts(question: rows.WriteRow, serde: SerializerProtocol) -> Iterator[Interrupt]:
    value = serde.loads_typed((question.type, question.value))
    yield from value if isinstance(value, (list, tuple)) else [value]
