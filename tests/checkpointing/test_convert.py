"""A file of the first format is read as it is, and converted row by row, whatever happens meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from gatewayd.blobs import codec, cut
from gatewayd.checkpointing import conversion, pieces, rows
from gatewayd.checkpointing.sqlite import changes, convert
from tests.checkpointing.test_shared_pieces import THREAD, chat, text, turn, values


@pytest.fixture
async def old(bench: Any, monkeypatch: Any) -> Any:
    """Give a bench whose rows an older version has stored, as they are after the migration."""
    with monkeypatch.context() as patch:
        patch.setattr(pieces, "SMALL", 1 << 40)
        patch.setattr(codec, "LEAST", 1 << 40)
        for number in range(0, 12, 2):
            await turn(bench.saver(f"run-{number}", thread_id="t"), number)
    bench.change(
        lambda c: c.executescript(
            "UPDATE checkpoints SET metadata = CAST(substr(metadata_packed, 2) AS TEXT), metadata_packed = NULL;"
            "INSERT INTO conversions SELECT 'checkpoints', 0, max(rowid) FROM checkpoints;"
            "INSERT INTO conversions SELECT 'writes', 0, max(rowid) FROM writes;"
        )
    )
    assert bench.count("blobs") == 0
    return bench


def convert_all(bench: Any, meanwhile: Callable[[conversion.OldRow], None] = lambda found: None) -> int:
    """Do what the sweeper does."""
    count, known = 0, cut.Known()
    while True:
        answer: list[Any] = []
        bench.change(lambda c, answer=answer: answer.append(convert.next_row(c)))
        (found,) = answer
        if found is None:
            return count
        if not found.body:
            continue
        manifest, portions = conversion.cut_row(found, known)
        meanwhile(found)
        for blobs in portions:
            bench.change(convert.store_some, found.thread_id, blobs)
        bench.change(convert.finish, found, manifest)
        count += 1


async def test_converted_rows_give_the_same_answers_and_a_fraction_of_the_bytes(old: Any) -> None:
    def size() -> int:
        return sum(len(row[7]) for row in old.dump("checkpoints")) + sum(
            len(row[2]) for row in old.dump("blobs")
        )

    before, bytes_before = list(old.saver().list(None)), size()
    assert convert_all(old) > 12
    assert list(old.saver().list(None)) == before
    assert size() < bytes_before / 2
    assert convert_all(old) == old.count("conversions") == 0
    old.change(changes.thread_delete, "t")
    old.sweep()
    assert old.count("blobs") == 0


async def test_a_run_goes_on_from_rows_of_the_first_format(old: Any) -> None:
    await turn(old.saver("new", thread_id="t"), 12)
    found = (await values(old.saver()))["messages"]
    assert [message.content for message in found] == [text(number) for number in range(14)]


async def test_a_row_that_changes_while_it_is_converted_keeps_its_new_value(old: Any) -> None:
    changed: list[int] = []

    def meanwhile(found: conversion.OldRow) -> None:
        if not changed:
            changed.append(found.rowid)
            old.change(
                lambda c: c.execute("UPDATE checkpoints SET checkpoint = x'01' WHERE rowid = ?", changed)
            )

    convert_all(old, meanwhile)
    kept = old.fetch("SELECT format, checkpoint FROM checkpoints WHERE rowid = ?", *changed)
    assert kept == [(rows.WHOLE, b"\x01")]


async def test_a_thread_that_is_deleted_while_it_is_converted_leaves_nothing(old: Any) -> None:
    def meanwhile(found: conversion.OldRow) -> None:
        old.change(changes.thread_delete, "t")

    convert_all(old, meanwhile)
    old.sweep()
    assert [old.count(table) for table in ("blobs", "families", "thread_families")] == [0, 0, 0]


async def test_a_state_of_thousands_of_new_pieces_is_sent_in_portions(bench: Any) -> None:
    saver = bench.saver("run", thread_id="t")
    messages = [HumanMessage(text(number, 300), id=f"{number}") for number in range(1000)]
    await chat(saver).aupdate_state(THREAD, {"messages": messages}, as_node="answer")
    assert max(len(one[-1]) for one in saver._sink.operations if one[0] == "blobs") <= 200
    assert (await values(saver))["messages"] == messages
