"""``python -m gatewayd``: the same as the command ``gatewayd``."""

from __future__ import annotations

import sys

from gatewayd import cli

if __name__ == "__main__":
    sys.exit(cli.main())
