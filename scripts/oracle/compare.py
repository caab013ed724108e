# ruff: noqa: INP001  (a script, no package)
"""
Show where two versions of the reference server answer differently, as recorded.

    python scripts/oracle/compare.py VERSION [OTHER]

Both were recorded with scripts/oracle/record.py; the first one is 0.16.7 if only one is given.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.wire import recording  # noqa: E402


def main() -> int:
    """Compare what the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().partition("\n")[0])
    parser.add_argument("versions", nargs="+", metavar="VERSION")
    versions = parser.parse_args().versions
    if len(versions) > 2:
        parser.error("two versions are compared, not more")
    before, after = [recording.CONTRACT, *versions][-2:]
    for version in (before, after):
        if not recording.folder_of(version).is_dir():
            parser.error(f"there are no recordings of {version}")
    for found in recording.compared(before, after):
        sys.stdout.write(f"{found.shown(before, after)}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
