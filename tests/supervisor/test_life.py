"""
The life of a worker: where each event leads from each phase, and what its end means after any history.
"""

from __future__ import annotations

import itertools
import signal
from typing import Any

import pytest

from gatewayd.channel import frames
from gatewayd.supervisor import life as lives
from gatewayd.supervisor.life import Drain, Exited, Kill, Life, Loaded, Phase, Retire, Stop, Unloadable

LOADED, UNLOADABLE, STOP = Loaded(), Unloadable("agent.py: SyntaxError"), Stop()
RETIRE, BLOCKED, DRAIN = (
    Retire("it was given 2 runs"),
    Retire("its loop is blocked", blocked=True),
    Drain("a reload"),
)
KILL, SACRIFICE, EXITED = Kill("memory limit"), Kill(blameless=True, blockers=frozenset({"a"})), Exited(0)
EVENTS: tuple[lives.Event, ...] = (
    LOADED, UNLOADABLE, RETIRE, BLOCKED, DRAIN, STOP, KILL, SACRIFICE, EXITED,
)  # fmt: skip

WAYS: dict[str, tuple[lives.Event, ...]] = {
    "starting": (),
    "ready": (LOADED,),
    "retiring": (LOADED, RETIRE),
    "draining": (LOADED, DRAIN),
    "stopping": (LOADED, STOP),
    "failed": (UNLOADABLE,),
    "killed": (LOADED, KILL),
    "gone": (LOADED, EXITED),
}
"""How each phase is reached."""

TABLE = """
              starting  ready     retiring  draining  stopping  failed  killed  gone
    loaded    ready     -         -         -         -         -       -       -
    unloadable  failed  -         -         -         -         -       killed  -
    retire    killed    retiring  -         -         -         killed  -       -
    blocked   killed    retiring  -         -         -         killed  -       -
    drain     killed    draining  draining  -         -         killed  -       -
    stop      killed    stopping  stopping  stopping  -         killed  -       -
    kill      killed    killed    killed    killed    killed    killed  -       -
    sacrifice  killed   killed    killed    killed    killed    killed  -       -
    exited    gone      gone      gone      gone      gone      gone    gone    -
"""
"""Where each event leads; -: it is ignored."""


def table() -> list[Any]:
    head, *rows = [line.split() for line in TABLE.strip().splitlines()]
    assert head == [phase.value for phase in Phase]
    assert len(rows) == len(EVENTS)
    return [
        pytest.param(before, event, after, id=f"{name} while {before}")
        for (name, *cells), event in zip(rows, EVENTS, strict=True)
        for before, after in zip(head, cells, strict=True)
    ]


def lived(*events: lives.Event) -> Life:
    life = Life()
    for event in events:
        life.advance(event)
    return life


@pytest.mark.parametrize(("before", "event", "after"), table())
def test_each_event_leads_from_each_phase_where_the_picture_says(
    before: str, event: lives.Event, after: str
) -> None:
    life = lived(*WAYS[before])
    assert life.phase is Phase(before)
    asked, kill, exited = life.asked, life.kill, life.exited
    counts = life.advance(event)
    assert counts is (after != "-")
    assert life.phase is Phase(before if after == "-" else after)
    if not counts:
        assert (life.asked, life.kill, life.exited) == (asked, kill, exited), (
            "an ignored event leaves no trace"
        )


def test_no_history_leads_to_a_contradiction() -> None:
    """Every sequence of events up to a length at which each state has been reached in every way."""
    for history in itertools.product(EVENTS, repeat=4):
        life = lived(*history)
        assert (life.exited is not None) == (life.phase is Phase.GONE)
        assert (life.phase in {Phase.STARTING, Phase.READY}) == (
            life.asked is None and life.kill is None and life.exited is None
        )
        if life.phase in {Phase.RETIRING, Phase.DRAINING}:
            assert life.retired
        assert not (life.loaded and life.kill is not None)
        assert life.blames_runs or life.expected, "a death that nothing is to blame for"
        assert life.expected or not life.retired
        assert not life.blockers or not life.blames_runs


@pytest.mark.parametrize(
    ("history", "expected", "blames"),
    [
        ((), False, True),
        ((KILL,), False, True),
        ((Kill(),), False, True),
        ((RETIRE,), True, False),
        ((RETIRE, KILL), True, False),
        ((RETIRE, SACRIFICE), True, False),
        ((DRAIN,), True, False),
        ((STOP,), True, False),
        ((SACRIFICE,), True, False),
        ((BLOCKED,), True, True),
        ((BLOCKED, KILL), True, True),
        ((BLOCKED, DRAIN), True, True),
        ((BLOCKED, SACRIFICE), True, False),
        ((BLOCKED, DRAIN, SACRIFICE), True, False),
        ((RETIRE, BLOCKED), True, False),
        ((KILL, SACRIFICE), False, True),
        ((SACRIFICE, KILL), True, False),
    ],
    ids=repr,
)
def test_what_the_end_of_a_ready_worker_means(
    history: tuple[lives.Event, ...], expected: bool, blames: bool
) -> None:
    life = lived(LOADED, *history, Exited(-signal.SIGSEGV))
    assert (life.expected, life.blames_runs) == (expected, blames)


def test_the_first_reason_is_the_one_that_is_told() -> None:
    assert lived(LOADED, BLOCKED, DRAIN, STOP).reason == "its loop is blocked"
    assert lived(LOADED, DRAIN, RETIRE).reason == "a reload"
    assert lived(UNLOADABLE, DRAIN).reason == "agent.py: SyntaxError"
    assert not lived(LOADED, STOP).reason


def test_why_it_can_not_load_is_not_lost_when_its_socket_for_data_ended_first() -> None:
    life = lived(Kill(), UNLOADABLE, Exited(-signal.SIGKILL))
    assert (life.reason, life.expected, life.retired) == ("agent.py: SyntaxError", True, False)


@pytest.mark.parametrize(
    ("history", "how", "from_outside"),
    [
        ((Exited(3),), "exit code 3", False),
        (
            (Exited(frames.EXIT_FAILED),),
            f"exit code {frames.EXIT_FAILED}: its channel failed, see its log",
            False,
        ),
        ((Exited(-signal.SIGSEGV),), "signal 11, SIGSEGV", False),
        ((Exited(-40),), "signal 40", False),
        ((Exited(-signal.SIGKILL),), "signal 9, SIGKILL", True),
        ((Kill(), Exited(-signal.SIGKILL)), "signal 9, SIGKILL", True),
        ((KILL, Exited(-signal.SIGKILL)), "memory limit", False),
        ((KILL,), "memory limit", False),
        ((), "", False),
    ],
    ids=repr,
)
def test_how_it_ended_is_told_by_why_it_was_killed_or_by_its_code(
    history: tuple[lives.Event, ...], how: str, from_outside: bool
) -> None:
    life = lived(LOADED, *history)
    assert (life.how_ended, life.killed_from_outside) == (how, from_outside)
