"""The saver with which clients look at states: one that can't be read is shown as empty and does not hide the
others.

Only for looking: a run or an update that went on from an empty state would lose what the thread has, so their
savers raise.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import Checkpoint, CheckpointTuple, DeltaChannelHistory, empty_checkpoint

from gatewayd.blobs import join
from gatewayd.checkpointing import reader, rows
from gatewayd.errors import Unreadable
from gatewayd.worker.project import faults
from gatewayd.worker.states import checkpoints

log = logging.getLogger(__name__)

Place = tuple[str, str]
"""Namespace and id of a checkpoint."""


def place_of(config: RunnableConfig | None) -> Place:
    """Return the checkpoint that a config names; no checkpoint has an empty id."""
    configurable = config["configurable"] if config else {}
    return configurable.get("checkpoint_ns", ""), configurable.get("checkpoint_id", "")


class Saver(checkpoints.Saver):
    """Reads states for clients."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Make it as any saver."""
        super().__init__(*args, **kwargs)
        self.unreadable = set[Place]()
        """What it has given as empty."""

    def _get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        try:
            return super()._get_tuple(config)
        except reader.Failed:
            raise
        except Exception as error:  # whatever the serialiser makes of damaged bytes
            row = self._row(config)
            named = config["configurable"].get("checkpoint_id")
            return None if row is None else self._empty(row, error, config if named else None)

    def _page(self, wanted: reader.Search, last: rows.CheckpointRow | None, size: int) -> checkpoints.Page:
        try:
            return super()._page(wanted, last, size)
        except Unreadable:  # that of one of them; `_joined` finds out which
            return self._rows(wanted, last, size)

    def _joined(
        self,
        row: rows.CheckpointRow,
        writes: Sequence[rows.WriteRow],
        joiner: join.Joiner,
        config: RunnableConfig | None = None,
    ) -> CheckpointTuple:
        failure: Exception
        # A joiner that has failed at another row may lack what this one needs: the second is its own.
        for each in (joiner, self._joiner(row.thread_id)):
            try:
                return super()._joined(row, writes, each, config)
            except reader.Failed:
                raise
            except Exception as error:
                failure = error
        return self._empty(row, failure, config)

    def _history(self, config: RunnableConfig, channels: Sequence[str]) -> dict[str, DeltaChannelHistory]:
        try:
            return super()._history(config, channels)
        except reader.Failed:
            raise
        except Exception as error:
            row = self._row(config)
            if row is not None:
                self._note(row, error)
            return {channel: {"writes": []} for channel in channels}

    def _empty(
        self, row: rows.CheckpointRow, error: Exception, config: RunnableConfig | None
    ) -> CheckpointTuple:
        self._note(row, error)
        empty = {**empty_checkpoint(), "id": row.checkpoint_id, "ts": None}
        return self._tuple_of(row, cast(Checkpoint, empty), [], config)

    def _note(self, row: rows.CheckpointRow, error: Exception) -> None:
        self.unreadable.add((row.checkpoint_ns, row.checkpoint_id))
        log.error(
            "checkpoint %s of thread %s is shown as null: %s",
            row.checkpoint_id,
            row.thread_id,
            faults.text(error),
        )
