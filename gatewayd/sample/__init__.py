"""The bundled project: three graphs that need no key and no network, and what to try with them.

A normal project: `langgraph.json` names the graphs, and nothing of gatewayd knows them. `agent` calls tools
and streams its answer word by word, `approval` waits for a person, `walk` is long and slow, to be watched
over a restart.

This module is read by the daemon, the others by the worker like any user's code; so it imports neither them
nor langgraph.
"""

from __future__ import annotations

import sys
from pathlib import Path
from string import Template

CONFIG = Path(__file__).with_name("langgraph.json")


def next_steps(config: Path, url: str) -> str | None:
    """
    What to paste next, if `config` is this project's langgraph.json and served at `url`; None for other
    projects.
    """
    if config.resolve() != CONFIG.resolve():
        return None
    text = CONFIG.with_name("next_steps.txt").read_text("utf-8")
    return Template(text).substitute(python=sys.executable, url=url)
