"""``gatewayd db compact``: the database rebuilt without free pages, while no daemon has it."""

from __future__ import annotations

from gatewayd import datadir, settings
from gatewayd.storage.quota import size
from gatewayd.storage.sqlite import compact


def compacted(options: settings.Settings) -> str:
    """
    Rebuild the file; return what there is to say. Raises `DataDirBusy`, `BadConfiguration`,
    `InsufficientStorage`.
    """
    with datadir.held(options.data_dir):
        done = compact.compact(options.data_dir / datadir.DATABASE)
    told = f"{size(done.before)} before, {size(done.after)} now"
    return f"{told}; free pages are given back from now on" if done.converted else told
