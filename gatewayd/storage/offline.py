"""Work on files that needs no open `Storage`: rebuilding a database, measuring it, reading a saver's file."""

from __future__ import annotations

from gatewayd.storage.sqlite import langgraph_file
from gatewayd.storage.sqlite.engine import compact as compact_
from gatewayd.storage.sqlite.engine import usage

compact = compact_.compact
measure = usage.look
Usage = usage.Usage
FileUsage = usage.File
LanggraphFile = langgraph_file.LanggraphFile
