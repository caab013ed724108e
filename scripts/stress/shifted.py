"""
``gatewayd serve`` with a wall clock that can be set: ``shifted.py --config … --data-dir … --port …``.

The variable ``CLOCK`` names a file with the seconds by which this process's clock is ahead; it is read ten
times a second. The monotonic clock, and the clocks of workers, are not changed: so it is when an operator
sets the time.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

REAL, REAL_NS = time.time, time.time_ns
ahead_s = 0.0


def read(file: Path) -> None:
    global ahead_s
    while True:
        try:
            ahead_s = float(file.read_text())
        except (OSError, ValueError):
            pass  # it is being written
        time.sleep(0.1)


def main() -> int:
    time.time = lambda: REAL() + ahead_s
    time.time_ns = lambda: REAL_NS() + int(ahead_s * 1e9)
    threading.Thread(target=read, args=(Path(os.environ["CLOCK"]),), daemon=True).start()
    from gatewayd import cli

    return cli.main(["serve", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
