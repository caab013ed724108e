"""
Where gatewayd answers otherwise than the reference, and why that is meant.

A row covers the differences whose scenario, exchange and place match its patterns ("*" is anything). The
first row that matches counts.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Final

import attrs

from tests.wire.recording import NOTHING, Difference


@attrs.frozen
class Row:
    """A known difference."""

    scenario: str
    ask: str
    place: str
    reason: str
    added: bool = False
    """Only if gatewayd says something of which the reference says nothing."""

    def covers(self, difference: Difference) -> bool:
        """Whether this row is about a difference."""
        return (
            fnmatchcase(difference.scenario, self.scenario)
            and fnmatchcase(difference.ask, self.ask)
            and fnmatchcase(difference.place, self.place)
            and (not self.added or difference.expected == NOTHING)
        )


WHOSE: Final = "messages that are streamed at the same time can be told apart"
SAME_ID: Final = "a tool's message is told by the id that it has in the state"

ROWS: Final = (
    # protocol v2
    Row(
        "protocol_*",
        "*/stream/events",
        "answer.values.*.usage_metadata*",
        "front ends show what an answer has cost",
        added=True,
    ),
    *(
        Row("protocol_*", "*/stream/events", f"answer.messages.*.{key}", WHOSE, added=True)
        for key in ("node", "data.id", "data.run_id")
    ),
    Row(
        "protocol_*",
        "*/stream/events",
        "answer.input.requested.*.data.value",
        "one SDK reads the question under `value`, the other under `payload`",
        added=True,
    ),
    Row(
        "protocol_*",
        "*/stream/events",
        "answer.input.answered",
        "other tabs learn that a question has been answered",
        added=True,
    ),
    Row(
        "protocol_questions_inside",
        "*/stream/events",
        "answer.lifecycle.[0-9].*",
        "the end of a run is its last event, stored with its status: who sees it finds the state behind it",
    ),
    Row(
        "protocol_tools",
        "*/stream/events",
        "answer.messages.*.data.tool_call_id",
        "each part of a tool's message says whose it is",
        added=True,
    ),
    *(
        Row("protocol_tools", "*/stream/events", f"answer.{place}.id", SAME_ID)
        for place in ("messages.*.data", "tools.*.data.output", "values.*.data.messages.*")
    ),
    Row(
        "protocol_cancels",
        "*/stream/events",
        "answer.lifecycle.1",
        "who has seen a run begin sees its end, also when it is undone",
        added=True,
    ),
    Row(
        "protocol_double_texting_*",
        "*",
        "answer.*",
        "a run is started, refused or takes another's place at once, as over v1; the reference waits and then runs both",
    ),
    Row(
        "protocol_second_run",
        "*/stream/events",
        "answer.values.*",
        "of runs that ended before the last one only how they stood is replayed",
    ),
    Row(
        "protocol_runs_of_v1",
        "*/stream/events",
        "answer.lifecycle.*",
        "a graph whose beginning was not told does not end",
    ),
    Row(
        "protocol_runs_read_over_v1",
        "GET */stream",
        "answer.events.*",
        "runs of v2 are shown over v1 in the words of v1",
    ),
    Row(
        "sockets*",
        "WS *",
        "answer.answers.*.meta*",
        "events are numbered per thread and for good",
    ),
    Row(
        "sockets",
        "WS *",
        "answer.answers.0.result.replayed_events",
        "what is kept is sent before the answer, and counted",
    ),
    Row(
        "sockets_with_questions",
        "WS *",
        "answer.events.input.requested.*.data.value",
        "one SDK reads the question under `value`, the other under `payload`",
        added=True,
    ),
    Row(
        "sockets_with_questions",
        "WS *",
        "answer.events.input.answered",
        "other tabs learn that a question has been answered",
        added=True,
    ),
    Row(
        "sockets_that_are_closed",
        "WS *",
        "answer.code",
        "clients do not come back after 4422; a frame of bytes is named",
    ),
    Row(
        "protocol_*",
        "*/commands",
        "answer.meta.applied_through_seq",
        "events are numbered per thread and for good, and the number is told over HTTP too",
    ),
    Row(
        "protocol_*",
        "GET */runs/*",
        "answer.kwargs.config.configurable.__request_start_time_ms__",
        "all runs say when they were asked for, also those of v2",
        added=True,
    ),
    *(
        Row("protocol_*", "GET */runs/*", f"answer.kwargs.{place}", "a note of the reference to itself")
        for place in (
            "config.configurable.__event_streaming_v2",
            "context.__event_streaming_v2",
            "context.thread_id",
        )
    ),
    # more than the reference says
    Row(
        "*", "*", "answer.ids", "every v1 stream has ids, so that every run can be followed through a restart"
    ),
    Row("*", "*/runs*", "answer*.cancel_reason", "of the coming reference, 0.17 and newer", added=True),
    *(
        Row(
            scenario,
            "GET */threads/*",
            "answer.error",
            "of the coming reference: a cancel is no error of the thread",
        )
        for scenario in (
            "cancel*",
            "clients_that_leave",
            "go_on_after_a_cancel",
            "joiners_that_leave",
            "streams_of_a_pending_run_that_is_cancelled",
            "streams_of_cancelled_runs",
            "threads_that_are_read_while_runs_are_cancelled",
            "two_readers_of_whom_the_creator_leaves",
            "waiters_of_a_cancelled_run",
            "waits_that_are_left",
        )
    ),
    Row("*", "*/threads*", "answer*.error", "threads always say error and interrupts", added=True),
    Row("*", "*/threads*", "answer*.interrupts", "threads always say error and interrupts", added=True),
    Row(
        "foreign_origins",
        "*",
        "headers.access-control-expose-headers",
        "browsers reconnect by location; a header of ours",
    ),
    Row(
        "foreign_origins",
        "*",
        "headers.access-control-allow-origin",
        "pages of this machine may call, and not those of all origins",
    ),
    Row("foreign_origins", "OPTIONS *", "status", "a front end may come from a public address"),
    Row(
        "state", "*/threads/*/state*", "answer.checkpoint.checkpoint_ns", "all checkpoints say it", added=True
    ),
    Row(
        "runs_of_crons",
        "GET */runs/*",
        "answer.kwargs.config.configurable.__request_start_time_ms__",
        "all runs say when they were asked for, also those that the clock asks for",
        added=True,
    ),
    Row(
        "states_at_all_addresses",
        "*/threads/*/state*",
        "answer.checkpoint.checkpoint_ns",
        "all checkpoints say it",
        added=True,
    ),
    Row(
        "states_at_all_addresses",
        "GET *subgraphs=1",
        "answer.tasks.0.*",
        "what is true for one switch is true for all",
    ),
    Row("states_at_all_addresses", "POST */history", "status", "all forms of `before` are taken"),
    Row("threads_with_a_time_to_live", "GET *include=*ttl", "answer.ttl", "it is shown", added=True),
    Row("threads_with_a_time_to_live", "POST /threads", "status", "a thread lives longer than no time"),
    Row("metrics", "GET /metrics*", "answer.gatewayd", "this server tells more", added=True),
    Row("what_threads_take", "GET */storage", "answer*bytes", "what this server's rows take"),
    Row("metadata_through_the_state", "*", "*", "what the JavaScript SDK asks for is there"),
    # another server
    Row("server", "GET /info", "answer.version", "each server has its own version"),
    Row("server", "GET /info", "answer.flags.*", "there is no LangSmith"),
    # what a checkpoint's metadata repeat of its address
    *(
        Row(scenario, "*/threads/*", "answer*.metadata.checkpoint_id", "it is in the checkpoint's address")
        for scenario in ("threads_that_begin_with_a_state", "state_updates", "run_from_an_earlier_checkpoint")
    ),
    Row("state_updates", "*/threads/*", "answer*.metadata.thread_id", "it is told of all checkpoints"),
    *(
        Row(scenario, "POST */stream", "answer.events*.metadata.thread_id", "no event has it, and not some")
        for scenario in ("stream_inner_modes_of_questions", "stream_inner_modes_of_breakpoints")
    ),
    # stricter and more lenient
    Row(
        "versions_of_an_assistant",
        "POST */versions",
        "status",
        "an assistant exists, also where it has no more versions",
    ),
    Row(
        "fields_that_are_looked_at*", "POST /runs/wait", "status", "null for an optional field is its absence"
    ),
    Row(
        "ids_that_are_no_uuids",
        "POST /threads/zz/runs/*",
        "status",
        "all three ways to create a run answer alike",
    ),
    Row(
        "ids_that_are_no_uuids",
        "POST /threads/<thread 1>/runs",
        "status",
        "a checkpoint's id is a UUID everywhere",
    ),
    # texts, which nobody parses
    Row("assistants", "POST /assistants/search", "answer.detail", "enumerations are listed in another order"),
    *(
        Row(scenario, ask, "answer.detail", "the place in the schema is that in the body")
        for scenario, ask in (
            ("threads_that_cannot_begin_with_a_state", "POST /threads"),
            ("states_at_all_addresses", "POST */history"),
            ("states_at_all_addresses", "POST */state/checkpoint"),
            ("batches_of_runs", "POST /runs/batch"),
        )
    ),
    Row(
        "runs_that_are_listed",
        "GET *select=colour",
        "answer.detail",
        "a list with an order instead of a Python set",
    ),
    Row("bodies_that_are_wrong", "POST /runs", "answer.detail", "null for a required field is its absence"),
    Row("cancel_many", "POST /runs/cancel", "answer.detail", "says what is wanted"),
    Row(
        "fields_that_are_looked_at*",
        "POST /runs/wait",
        "answer.detail",
        "the place in the schema is left out",
    ),
    Row("run_records", "GET *select=colour", "answer.detail", "a list with an order instead of a Python set"),
    Row(
        "runs_that_are_refused",
        "POST /threads/<thread 1>/runs",
        "answer.detail",
        "a command that is no object",
    ),
    Row("state", "POST */state/checkpoint", "answer.detail", "the place in the schema is shorter"),
    Row(
        "state_updates_of_a_busy_thread",
        "POST */state",
        "answer.detail",
        "names the runs instead of showing their Python objects",
    ),
    Row("state_updates_that_are_refused", "POST */state", "answer.detail", "shorter"),
    Row("state_updates_that_are_refused", "POST */state", "status", "a checkpoint's id is a UUID everywhere"),
    Row(
        "stream_modes_that_are_wrong",
        "POST */runs/stream",
        "answer.detail",
        "the place in the schema is shorter",
    ),
    Row(
        "threads_that_are_read_again",
        "GET *?stream_modes=*",
        "answer.detail",
        "names the modes to choose from",
    ),
    Row(
        "values_extracted_from_threads",
        "POST /threads/search",
        "answer.detail",
        "the place in the schema is named like all others, and a body is shown as it was sent",
    ),
    # defects of the reference that are not copied
    Row(
        "versions_of_an_assistant",
        "*/assistants/*",
        "answer.*graph_id",
        "an older version is restored with its graph",
    ),
    Row(
        "runs_of_an_assistant",
        "POST */runs",
        "answer.kwargs.config.configurable.__context_provided__",
        "an internal of the server",
    ),
    Row(
        "threads_that_cannot_begin_with_a_state",
        "*",
        "status",
        "a thread whose states can't be made is not made, and the status says so",
    ),
    Row(
        "state_updates_of_a_subgraph",
        "GET /threads/<thread 1>",
        "answer.*",
        "a thread shows its root's state, whatever subgraph was updated",
    ),
    Row(
        "state_updates",
        "GET /threads/<thread 1>",
        "answer.values.*",
        "a thread shows the state that an update has made, not the one that it went out from",
    ),
    Row("copies", "*", "answer.status", "a copy has its source's state"),
    Row("copies", "*", "answer.values", "a copy has its source's state"),
    Row("copies", "POST */copy", "status", "what does not exist is a 404, what is no id a 422"),
    Row(
        "*",
        "GET /threads/*/runs/*",
        "answer.kwargs*.__pregel_node_finished",
        "an internal of langgraph leaks",
    ),
    Row(
        "runs_of_crons",
        "GET */runs/*",
        "answer.kwargs.context.langgraph_auth_user",
        "who asks for a run is not part of its context",
    ),
    Row("odd_values", "GET */state", "answer.values.kept.*", "values look alike in state, stream and result"),
    Row("joins", "GET */join", "status", "a run that does not exist is a 404"),
    Row("waiters_of_a_cancelled_run", "GET */join", "status", "a run that does not exist is a 404"),
    Row(
        "joins",
        "GET */runs/<run 2>/join",
        "answer.*",
        "a late join has the values beside the question",
        added=True,
    ),
    Row(
        "two_questions_at_once", "*", "answer.*replies*", "the values beside a question are there", added=True
    ),
    Row(
        "join_a_stream_that_has_ended", "GET *", "answer.events.3", "a replay shows the error too", added=True
    ),
    Row(
        "join_a_resumable_stream",
        "GET */stream[?]stream_mode=*",
        "answer.events.*",
        "metadata pass every filter, repeated modes add up",
    ),
    Row(
        "join_a_resumable_stream",
        "GET */stream",
        "answer.events.*",
        "only what is behind an id's dash is compared",
        added=True,
    ),
    Row(
        "join_with_a_filter",
        "GET *stream_mode=values,custom",
        "answer.events.*",
        "modes may be separated by commas",
        added=True,
    ),
    Row(
        "join_messages_with_a_filter",
        "GET */runs/<run 2>/stream[?]stream_mode=messages",
        "answer.events.*",
        "a replay shows messages in the older form, too",
        added=True,
    ),
    Row(
        "threads_that_are_read_while_runs_are_cancelled",
        "GET /threads/*",
        "answer.status",
        "a rollback leaves the thread as it was before the run",
    ),
    # a message that a node returns without an id gets one when the step's updates are applied
    *(
        Row(scenario, "POST */runs/stream", place, "an event shows what was there when it was emitted")
        for scenario, place in (
            ("stream_events", "answer.events.*.data.*.id"),
            ("stream_events_with_others", "answer.events.*.messages.0.id"),
        )
    ),
    # the store's refusals, which the reference sends as bare text or as {"error": …}
    *(
        Row(scenario, "*/store/*", place, "an error is JSON with a detail, everywhere")
        for scenario in ("items_that_are_refused", "item_searches_that_are_refused", "namespaces")
        for place in ("headers.content-type", "answer")
    ),
    Row(
        "items_that_are_refused",
        "*/store/items*",
        "answer.detail",
        "an error is JSON with a detail, everywhere",
    ),
    Row(
        "items_that_are_refused",
        "GET */store/items*",
        "answer.error",
        "an error is JSON with a detail, everywhere",
    ),
    Row("items_that_are_refused", "*/store/items", "headers.allow", "all methods are named"),
    Row(
        "item_searches_that_are_refused",
        "*/store/items/search",
        "answer.detail",
        "null may be left out of a type",
    ),
    Row(
        "item_searches_that_are_refused",
        "*/store/items/search",
        "status",
        "strings can be ordered, bounds are bounds, null for an optional field is its absence",
    ),
    Row("namespaces", "*/store/namespaces", "status", "null for an optional field is its absence"),
    *(
        Row(scenario, "*", "answer*detail", "all candidates are named")
        for scenario in (
            "runs_that_are_refused",
            "thread_search",
            "threads_counted",
            "threads_searched_wrongly",
        )
    ),
    *(
        Row(scenario, "*", place, "it is said whether there is no thread or no assistant")
        for scenario, place in (
            ("assistants_that_are_deleted", "answer.detail"),
            ("runs_that_make_their_thread", "answer.detail"),
            ("protocol_commands_that_are_wrong", "answer.message"),
        )
    ),
    # newer than this reference
    *(
        Row(scenario, ask, place, "a list is contained in one that has its items, as from 0.17 on")
        for scenario, ask, place in (
            ("thread_search", "POST /threads/search", "headers.x-pagination-total"),
            ("thread_search", "POST /threads/search", "answer.0"),
            ("threads_counted", "POST /threads/count", "answer"),
        )
    ),
    Row(
        "join_messages_with_a_filter",
        "GET */runs/<run 2>/stream[?]stream_mode=messages-tuple",
        "answer.events.*",
        "a filter by either form of messages lets both through, as in 0.18",
        added=True,
    ),
    # what the records of runs and crons tell beyond the reference's
    *(
        Row(scenario, "*/runs*", "answer.*error", "why a run failed is on its record", added=True)
        for scenario in ("batches_of_runs", "stateless_runs")
    ),
    *(
        Row("crons", "*/runs/crons*", f"answer.*{key}", "a cron tells how its last run ended", added=True)
        for key in ("last_run", "failures")
    ),
    Row("crons_that_are_refused", "*/search", "answer.detail", "a cron tells how its last run ended"),
    # values that can't be stored
    Row(
        "waits", "*/threads/<thread 8>*", "answer.*error*", "the error is that of a serialiser without pickle"
    ),
    Row(
        "stream_odd_values",
        "*/threads/<thread 2>*",
        "answer.events.1.1.*",
        "the error is that of a serialiser without pickle",
    ),
)


def row_for(difference: Difference) -> Row | None:
    """Return the row that tells why there is a difference."""
    return next((row for row in ROWS if row.covers(difference)), None)
