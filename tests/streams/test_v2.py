"""
Records as protocol v2 shows them: envelopes, ids, filters, and the views of either protocol's runs in the
other.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from gatewayd import wire
from gatewayd.errors import Invalid, Rejected
from gatewayd.model import event, message
from gatewayd.model.event import Record
from gatewayd.streams import subscriptions, v1, v2

RUN = "01a2159a-d1ef-7cab-8d2c-456d3df15fc5"
OF_V1 = event.V1 | event.THREAD


def record(kind: str, data: Any, namespace: str = "", mask: int = event.V2, seq: int = 7) -> Record:
    return Record(seq, 1_795_658_798_184, RUN, kind, namespace, mask, wire.dumps(data))


def shown(what: Record) -> dict[str, Any] | None:
    view = v2.view(what)
    encoded = None if view is None else view.encoded()
    return None if encoded is None else wire.loads(encoded)


def test_an_event_is_its_data_in_an_envelope_with_the_logs_number() -> None:
    assert shown(
        record("v2/messages", {"data": {"event": "message-finish"}, "node": "model"}, "a:1|b:2")
    ) == {
        "type": "event",
        "event_id": "1795658798184-7",
        "seq": 7,
        "method": "messages",
        "params": {
            "namespace": ["a:1", "b:2"],
            "timestamp": 1_795_658_798_184,
            "data": {"event": "message-finish"},
            "node": "model",
        },
    }


@pytest.mark.parametrize(
    ("kind", "namespace", "event_id"),
    [
        ("v2/lifecycle=running", "", f"synth:{RUN}:lc||running"),
        ("v2/lifecycle=running:2", "", f"synth:{RUN}:lc||running:2"),
        ("v2/lifecycle=completed", "a:1|b:2", f"synth:{RUN}:lc|a:1\ufffdb:2|completed"),
        ("v2/input.requested=f0be", "a:1", f"synth:{RUN}:input|a:1|f0be"),
        ("v2/lifecycle", "a:1", "1795658798184-7"),
    ],
)
def test_clients_can_cut_the_run_out_of_the_ids_that_the_server_gives(
    kind: str, namespace: str, event_id: str
) -> None:
    found = shown(record(kind, {"data": {}}, namespace))
    assert found is not None
    assert found["event_id"] == event_id
    assert found["method"] == kind.removeprefix("v2/").partition("=")[0]


@pytest.mark.parametrize(
    ("kind", "data", "params"),
    [
        ("values", {"n": 1, "__interrupt__": [{"id": "x"}]}, {"data": {"n": 1}}),
        ("values", {"__interrupt__": [{"id": "x"}]}, None),
        ("updates", {"step": {"n": 0}}, {"data": {"n": 0}, "node": "step"}),
        ("updates", {"__interrupt__": []}, None),
        ("custom", {"pct": 50}, {"data": {"payload": {"pct": 50}}}),
        ("tasks", {"id": "t"}, {"data": {"id": "t"}}),
        ("messages", [{}, {}], None),
        ("debug", {}, None),
        ("metadata", {"run_id": RUN}, None),
    ],
)
def test_a_run_of_v1_has_its_states_updates_and_custom_events_in_v2(
    kind: str, data: Any, params: Any
) -> None:
    found = shown(record(kind, data, mask=OF_V1))
    if params is None:
        assert found is None
    else:
        assert found is not None
        assert {key: found["params"][key] for key in params} == params


def test_messages_of_a_state_lose_what_is_empty_in_v2_and_have_it_again_in_v1() -> None:
    full = {
        "content": "",
        "additional_kwargs": {},
        "response_metadata": {},
        "type": "ai",
        "name": None,
        "id": "m",
        "tool_calls": [{"name": "add", "args": {}, "id": "c", "type": "tool_call"}],
        "invalid_tool_calls": [],
        "usage_metadata": None,
    }
    assert message.compact(full) == {
        "type": "ai",
        "content": "",
        "id": "m",
        "tool_calls": [{"type": "tool_call", "name": "add", "args": {}, "id": "c"}],
    }
    assert message.complete(message.compact(full)) == full
    spent = {**full, "usage_metadata": {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}}
    assert message.compact(spent)["usage_metadata"] == spent["usage_metadata"]
    assert message.complete(message.compact(spent)) == spent
    state = record("v2/values", {"data": {"messages": [message.compact(full)]}}, mask=OF_V1 | event.V2)
    converted = v1.shown_on(state, event.V1)
    assert converted is not None
    assert (converted.kind, converted.seq, wire.loads(converted.data)) == ("values", 7, {"messages": [full]})


@pytest.mark.parametrize(
    ("part", "chunk"),
    [
        (
            {"event": "content-block-delta", "index": 0, "delta": {"type": "text-delta", "text": "hi"}},
            {"content": [{"type": "text", "text": "hi", "index": 0}]},
        ),
        (
            {"event": "content-block-delta", "index": 1, "delta": {"type": "tool-call-delta", "args": "{"}},
            {
                "tool_call_chunks": [
                    {"name": None, "args": "{", "id": None, "index": 1, "type": "tool_call_chunk"}
                ]
            },
        ),
        (
            {"event": "message-finish", "usage": {"total_tokens": 3}},
            {"usage_metadata": {"total_tokens": 3}, "chunk_position": "last"},
        ),
    ],
)
def test_a_part_of_a_message_is_a_chunk_in_v1(part: dict[str, Any], chunk: dict[str, Any]) -> None:
    params = {"data": {**part, "id": "m"}, "node": "model"}
    converted = v1.shown_on(record("v2/messages", params, "sub:1", OF_V1 | event.V2), event.V1)
    assert converted is not None
    first, about = wire.loads(converted.data)
    assert converted.kind == "messages"
    assert (first["id"], first["type"]) == ("m", "AIMessageChunk")
    assert {key: first[key] for key in chunk} == chunk
    assert about == {"run_id": RUN, "langgraph_node": "model", "langgraph_checkpoint_ns": "sub:1"}


def test_v1_has_nothing_of_a_tools_message_nor_of_a_blocks_beginning() -> None:
    for data in (
        {"event": "message-start", "role": "tool", "id": "t", "tool_call_id": "c"},
        {"event": "content-block-start", "index": 0, "content": {"type": "text", "text": ""}, "id": "m"},
    ):
        assert v1.shown_on(record("v2/messages", {"data": data}, mask=OF_V1 | event.V2), event.V1) is None


@pytest.mark.parametrize(
    ("asked", "passes"),
    [
        ({"channels": ["values"]}, True),
        ({"channels": ["lifecycle"]}, False),
        ({"channels": ["values"], "namespaces": [[]]}, True),
        ({"channels": ["values"], "namespaces": [[]], "depth": 0}, False),
        ({"channels": ["values"], "namespaces": [[]], "depth": 1}, True),
        ({"channels": ["values"], "namespaces": [["inner"]]}, True),
        ({"channels": ["values"], "namespaces": [["inner:1"]], "depth": 0}, True),
        ({"channels": ["values"], "namespaces": [["inner:2"]]}, False),
        ({"channels": ["values"], "namespaces": [["inn"], ["inner"]]}, True),
        ({"channels": ["values"], "namespaces": [["inner:1", "deeper"]]}, False),
        ({"channels": ["values"], "namespaces": "all", "depth": "x"}, True),
    ],
)
def test_a_filter_lets_through_what_is_below_one_of_its_prefixes(asked: dict[str, Any], passes: bool) -> None:
    view = v2.view(record("v2/values", {"data": {}}, "inner:1"))
    assert view is not None
    assert subscriptions.parse(asked).passes(view) is passes


def test_custom_events_can_be_chosen_by_their_name() -> None:
    named, other = (
        v2.view(record("v2/custom", {"data": data})) for data in ({"name": "progress", "payload": 1}, "text")
    )
    assert named is not None
    assert other is not None
    wanted = subscriptions.parse({"channels": ["custom:progress"]})
    assert wanted.passes(named)
    assert not wanted.passes(other)
    everything = subscriptions.parse({"channels": ["custom"]})
    assert everything.passes(named)
    assert everything.passes(other)


@pytest.mark.parametrize("channels", [None, [], "values", ["bogus"], ["custom:"], [1]])
def test_channels_must_be_named_and_known(channels: Any) -> None:
    with pytest.raises(Rejected):
        subscriptions.parse({"channels": channels})


@pytest.mark.parametrize(
    ("given", "since"), [(5, 5), (0, 0), (-1, None), (True, None), ("5", None), (1 << 70, None)]
)
def test_a_since_that_is_no_number_of_ours_is_as_good_as_none(given: Any, since: int | None) -> None:
    assert subscriptions.since({"since": given}) == since


@pytest.mark.parametrize(
    ("status", "interrupts", "next_nodes", "end"),
    [
        ("success", {}, [], "completed"),
        ("success", {}, ["step"], "interrupted"),
        ("error", None, None, "failed"),
        ("timeout", None, None, "failed"),
        ("interrupted", None, None, "interrupted"),
    ],
)
def test_every_end_of_a_run_has_its_word(status: str, interrupts: Any, next_nodes: Any, end: str) -> None:
    error = {"error": "ValueError", "message": "boom"} if end == "failed" else None
    (item,) = v2.end_items("graph", status, error, interrupts, next_nodes, {})
    data = wire.loads(item[3])["data"]
    assert item[0] == f"v2/lifecycle={end}"
    assert data == {"event": end, "graph_name": "graph", **({"error": "boom"} if error else {})}


def test_questions_come_before_the_end_with_their_place_and_their_value_twice() -> None:
    interrupts = {"task": [{"id": "one", "value": {"ask": 1}}, {"id": "two", "value": None}]}
    first, second, last = v2.end_items("graph", "success", None, interrupts, ["ask"], {"one": "inner:1"})
    assert (first[0], first[1]) == ("v2/input.requested=one", "inner:1")
    assert wire.loads(first[3])["data"] == {"interrupt_id": "one", "payload": {"ask": 1}, "value": {"ask": 1}}
    assert (second[0], second[1]) == ("v2/input.requested=two", "")
    assert last[0] == "v2/lifecycle=interrupted"


CHOICE = random.Random(11)
SEGMENTS = ("a", "a:1", "a:2", "b", "b:1", "c:x:y")


def some_namespace() -> list[str]:
    return [CHOICE.choice(SEGMENTS) for _ in range(CHOICE.randrange(4))]


def some_filter() -> v2.Filter:
    params: dict[str, Any] = {
        "channels": CHOICE.sample([*v2.CHANNELS, "custom:x", "custom:y"], CHOICE.randrange(1, 4)),
        "depth": CHOICE.choice([None, 0, 1, 2]),
    }
    if CHOICE.random() < 0.8:
        params["namespaces"] = [some_namespace() for _ in range(CHOICE.randrange(1, 4))]
    return subscriptions.parse(params)


def some_event() -> v2.View:
    method = CHOICE.choice([*v2.CHANNELS, "input.requested", "custom"])
    data = {"data": CHOICE.choice([{"name": "x"}, {"name": "z"}, {"name": 1}, None])}
    view = v2.view(record(f"v2/{method}", data, "|".join(some_namespace())))
    assert view is not None
    return view


def test_many_subscriptions_let_through_what_one_of_their_filters_does() -> None:
    events = [some_event() for _ in range(60)]
    outcomes = set()
    for _ in range(200):
        made = subscriptions.Subscriptions()
        filters = {made.add(wanted): wanted for wanted in [some_filter() for _ in range(3)] * 2}
        for subscription_id in CHOICE.sample(list(filters), CHOICE.randrange(6)):
            del filters[subscription_id]
            assert made.remove(subscription_id)
            assert not made.remove(subscription_id)
        for view in events:
            passes = any(wanted.passes(view) for wanted in filters.values())
            outcomes.add(passes)
            assert made.passes(view) is passes
        for subscription_id in filters:
            made.remove(subscription_id)
        assert (len(made), made.weight, made._channels, made._named) == (0, 0, {}, 0)
    assert outcomes == {True, False}


def test_an_event_is_compared_only_with_subscriptions_of_its_channel_and_first_segment(monkeypatch) -> None:
    made = subscriptions.Subscriptions()
    for n in range(subscriptions.MOST - 2):
        made.add(subscriptions.parse({"channels": ["values"], "namespaces": [[f"sub:{n}"]]}))
    for _ in range(2):  # equal ones count once
        made.add(subscriptions.parse({"channels": ["values"], "namespaces": [["sub", "inner"]]}))
    looked = []
    within = v2.within
    monkeypatch.setattr(v2, "within", lambda *what: looked.append(what[1]) or within(*what))
    other, mine, deeper = (
        v2.view(record(kind, {"data": {}}, namespace))
        for kind, namespace in [("v2/tools", "sub:7"), ("v2/values", "sub:7"), ("v2/values", "x|inner")]
    )
    assert other
    assert mine
    assert deeper
    assert not made.passes(other)
    assert not made.passes(deeper)
    assert looked == []
    assert made.passes(mine)
    assert len(looked) <= 2
    more = subscriptions.parse({"channels": ["values"]})
    with pytest.raises(Invalid, match="at most 1000 subscriptions"):
        made.check_room(more)


def test_the_filters_of_a_connection_take_a_limited_amount_of_memory() -> None:
    large = {"channels": ["values"], "namespaces": [["x" * subscriptions.HEAVIEST_FILTER]]}
    with pytest.raises(Invalid, match="namespaces"):
        subscriptions.parse(large)
    many = {"channels": list(v2.CHANNELS), "namespaces": [[str(n)] for n in range(2000)]}
    with pytest.raises(Invalid, match="2000 namespaces"):
        subscriptions.parse(many)
    made = subscriptions.Subscriptions()

    def one(n: int) -> v2.Filter:
        return subscriptions.parse({"channels": ["values"], "namespaces": [[str(n) + "x" * 1_000_000]]})

    for _ in range(10):  # the same one takes its place once
        made.check_room(one(0))
        made.add(one(0))
    for n in range(1, 4):
        made.check_room(one(n))
        made.add(one(n))
    with pytest.raises(Invalid, match=f"at most {subscriptions.HEAVIEST} bytes"):
        made.check_room(one(4))
