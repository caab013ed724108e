"""Errors travel between processes as classes of ours, by what they are and not by what they are called."""

from __future__ import annotations

import ormsgpack
import pytest

from gatewayd import errors
from gatewayd.channel import refusals
from gatewayd.worker import core

ALL = sorted(
    set(refusals.CLASSES.values()) - {errors.Unconfirmed},  # its result never leaves the daemon
    key=lambda kind: kind.__name__,
)


def made(kind: type[errors.GatewaydError]) -> errors.GatewaydError:
    values = {"status": 451, "headers": {"X-Why": "law"}, "code": 11, "name": "SQLITE_CORRUPT"}
    return kind("what happened", **{name: values[name] for name in kind.fields})


@pytest.mark.parametrize("kind", ALL)
def test_every_class_arrives_as_it_was_sent(kind: type[errors.GatewaydError]) -> None:
    sent = made(kind)
    arrived = refusals.unpack(ormsgpack.unpackb(ormsgpack.packb(refusals.pack(sent))))
    assert type(arrived) is kind
    assert arrived.detail == "what happened"
    assert [getattr(arrived, name) for name in kind.fields] == [getattr(sent, name) for name in kind.fields]


def test_a_class_below_one_of_ours_arrives_as_that_one() -> None:
    class Special(errors.Conflict):
        pass

    assert type(refusals.unpack(refusals.pack(Special("taken")))) is errors.Conflict


def test_a_class_of_the_projects_own_is_not_ours_whatever_its_name() -> None:
    own = type("NotFound", (Exception,), {})("no such customer")
    told = core._refusal("state", own)
    assert type(told) is errors.GatewaydError
    assert told.detail == "NotFound: no such customer"


def test_a_class_that_this_version_does_not_know_is_a_plain_error() -> None:
    assert type(refusals.unpack(["Later", "what happened", {}])) is errors.GatewaydError
