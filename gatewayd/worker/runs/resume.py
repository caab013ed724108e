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
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from attrs import field, frozen
from langchain_core.runnables import RunnableConfig
from langgraph.types import Command, StateSnapshot

from gatewayd.channel import orders
from gatewayd.checkpointing import reader
from gatewayd.worker import langgraph_internals as internals
from gatewayd.worker.project import graphs
from gatewayd.worker.states import checkpoints, questions
from gatewayd.worker.states.commands import command_of

"""langgraph's key by which a graph refuses answers that it can't match to its open questions."""
"""Tag of nodes that "*" does not mean."""
HIDDEN = "langsmith:hidden"


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
    answers = questions.open_answers(order.answers, order.thread_id, snapshot, storage)
    return Plan(input=Command(resume=answers) if answers else None, config=newest)


async def _forked(order: orders.RunOrder, config: RunnableConfig, saver: checkpoints.Saver) -> RunnableConfig:
    """
    Return the config with the place at which a new input is to be added.

    That is not behind another input: a checkpoint that only took one has the values of its parent. Front ends
    that edit a message name such a checkpoint, and their edits are versions of one message only if they have
    one parent.
    """
    place = config["configurable"]
    known = order.kwargs.get("command") or order.kwargs.get("input") is None or place.get(internals.RESUMING)
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
        answers = questions.open_answers(order.answers, order.thread_id, snapshot, storage)
        if answers:
            known["resume"] = answers
        elif not questions.updated_below(order.answers, order.thread_id, snapshot, storage):
            del known["resume"]
            if not known:  # what it answers has been answered: by the first click of two
                return Plan(over=True, config=latest(config))
    return Plan(input=command_of(known), config=config)


def _strictly(config: RunnableConfig) -> RunnableConfig:
    return {**config, "configurable": {**config["configurable"], internals.STRICT_RESUME: True}}


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
    writes = questions.writes_of(storage, *key)
    unfinished = [task for task in snapshot.tasks if not questions.finished(writes, task.id)]
    if unfinished and all(questions.asks(writes, task.id, order.run_id) for task in unfinished):
        return True
    return own and not writes and _breakpoint_due(order, graph, snapshot, storage)


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
        if node != questions.INTERRUPT and seen != parent.get(node):
            yield node


def _versions_seen(config: RunnableConfig, graph: graphs.AnyPregel) -> dict[str, Any]:
    saver = graph.checkpointer
    found = saver.get_tuple(config) if isinstance(saver, checkpoints.Saver) else None
    return dict(found.checkpoint["versions_seen"]) if found is not None else {}
