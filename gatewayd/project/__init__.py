"""langgraph.json, read and judged, but nothing of it imported: what the project asks for, as a `Project`.

The rule is "no silent no". Every key of the file ends in one of five classes, and the tables of `keys` are
the list:

- honoured (`keys.HONOURED`);
- refused by name (`keys.REFUSED`): serving without it would be dangerous, or would serve something else than
  was meant;
- warned of (`keys.UNHONOURED`): the project works without it, in part;
- noted: keys that only concern building images, and switches for things that aren't served anyway;
- unknown: one warning each.

A value that asks for nothing (``false``, ``null``, an empty object) is as good as an absent key. All paths
are relative to the folder of the file, whatever the current directory is.
"""

from __future__ import annotations

from gatewayd.project.model import CORS_METHODS, ON_RESTART, Cors, GraphSpec, Project
from gatewayd.project.reading import read

__all__ = ["CORS_METHODS", "ON_RESTART", "Cors", "GraphSpec", "Project", "read"]
