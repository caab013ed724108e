"""``gatewayd db compact``: the database rebuilt without free pages, while no daemon has it."""

from __future__ import annotations

from gatewayd import datadir, settings
from gatewayd.storage import offline
from gatewayd.storage.quota import size


def compacted(options: settings.Settings) -> str:
    """
    Rebuild the file; return what there is to say. Raises `DataDirBusy`, `BadConfiguration`,
    `InsufficientStorage`.
    """
    with datadir.held(options.data_dir):
        done = offline.compact(options.data_dir / datadir.DATABASE)
    sizes = f"{size(done.before)} before, {size(done.after)} now"
    return f"{sizes}; free pages are given back from now on" if done.converted else sizes
