"""Every field that released clients send is known: none is refused as a misspelling, none is ignored."""

from __future__ import annotations

import contextlib
import datetime as dt
import inspect
from typing import Any

import attrs
import httpx
import pytest
from langgraph_sdk import get_client

from gatewayd.api.requests import run_bodies, unknown
from gatewayd.api.streaming import commands

pytestmark = pytest.mark.xdist_group("clients")

HEADER = unknown.HEADER.lower()
ID = "11111111-1111-4111-8111-111111111111"

VALUES: dict[str, Any] = {
    "assistant_id": "agent",
    "graph_id": "agent",
    "thread_id": ID,
    "run_id": ID,
    "cron_id": ID,
    "payloads": [{"assistant_id": "agent", "input": {}}],
    "thread_ids": [ID],
    "run_ids": [ID],
    "ids": [ID],
    "schedule": "0 0 1 1 *",
    "supersteps": [{"updates": [{"values": {}, "as_node": "x"}]}],
    "version": 1,
    "namespace": ["a"],
    "namespace_prefix": ["a"],
    "key": "k",
    "value": {"a": 1},
    "ttl": 5,
    "limit": 1,
    "offset": 0,
    "checkpoint": {"thread_id": ID, "checkpoint_ns": "", "checkpoint_id": ID, "checkpoint_map": {}},
    "checkpoint_id": ID,
    "command": {"resume": 1, "update": {}, "goto": "x"},
    "config": {"tags": [], "recursion_limit": 3, "configurable": {}},
    "metadata": {"a": 1},
    "values": {"a": 1},
    "input": {"a": 1},
    "context": {},
    "webhook": "https://hooks.test/x",
    "select": [],
    "extract": {"a": "values.a"},
    "max_depth": 2,
    "end_time": dt.datetime(2040, 1, 1, tzinfo=dt.UTC),
    "after_seconds": 0,
    "multitask_strategy": "enqueue",
    "if_not_exists": "create",
    "if_exists": "do_nothing",
    "strategy": "delete",
}
"""
What a parameter of that name may be; others get their default or a text. It need not be accepted, only known.
"""

SKIPPED = {"headers", "params", "on_run_created", "on_sse_event", "interval", "response_format"}
"""Parameters that are no fields of a body."""

WITHOUT_BODY = {("threads", "stream"), ("threads", "join_stream")}
"""What makes no request at once, or one that lasts."""

METHODS = [
    (group, name)
    for group in ("assistants", "threads", "runs", "crons", "store")
    for name, method in inspect.getmembers(
        getattr(get_client(url="http://127.0.0.1:1"), group), inspect.ismethod
    )
    if not name.startswith("_") and (group, name) not in WITHOUT_BODY
]


def call(method: Any) -> Any:
    """Call a method of the SDK with everything that it takes."""
    listed, named = [], {}
    for name, parameter in inspect.signature(method).parameters.items():
        if name in SKIPPED or parameter.kind is parameter.VAR_KEYWORD:
            continue
        default = None if parameter.default is parameter.empty else parameter.default
        value = VALUES.get(name, "x" if default is None else default)
        if parameter.kind is parameter.POSITIONAL_ONLY:
            listed.append(value)
        else:
            named[name] = value
    return method(*listed, **named)


@pytest.mark.filterwarnings("ignore:`checkpoint_during` is deprecated")
@pytest.mark.parametrize(("group", "name"), METHODS, ids=[".".join(method) for method in METHODS])
async def test_no_field_that_the_python_sdk_sends_is_refused_or_ignored(
    served: str, group: str, name: str
) -> None:
    """
    The SDK makes each request itself, with every option that it has; what the answer is otherwise does not
    matter.
    """
    faults: list[str] = []
    statuses: list[int] = []

    async def look(response: httpx.Response) -> None:
        statuses.append(response.status_code)
        if HEADER in response.headers:
            faults.append(response.headers[HEADER])
        if response.status_code == 422 and "not a known field" in (await response.aread()).decode():
            faults.append(response.text)

    async with get_client(url=served, api_key=None) as client:
        client.http.client.event_hooks["response"].append(look)
        method = getattr(getattr(client, group), name)
        with contextlib.suppress(Exception):
            answer = call(method)
            if hasattr(answer, "__aiter__"):
                await anext(aiter(answer))
            elif inspect.isawaitable(answer):
                await answer
    assert faults == []
    assert statuses, "the SDK has sent nothing"


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (
            run_bodies.RunCreate,  # @langchain/langgraph-sdk 1.11.0 and 1.15.0, client.runs
            (
                "assistant_id input command config context metadata stream_mode stream_subgraphs stream_resumable feedback_keys "
                "interrupt_before interrupt_after checkpoint checkpoint_id checkpoint_during durability webhook "
                "multitask_strategy if_not_exists on_disconnect on_completion after_seconds strict_resume langsmith_tracer"
            ),
        ),
        (
            commands._RunStart,  # the same, threads.stream
            "assistant_id input config metadata multitaskStrategy multitask_strategy langsmith_tracer",
        ),
        (
            commands._Respond,
            "namespace interrupt_id response responses update goto config metadata strict_resume",
        ),
    ],
)
def test_no_field_that_the_js_sdk_sends_is_unknown(kind: type, fields: str) -> None:
    assert set(fields.split()) <= {attribute.name for attribute in attrs.fields(kind)}
