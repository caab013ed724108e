"""What compressing makes of the bodies in a database: bytes as they are, without the dictionary and with it,
and µs each.

    python scripts/measure/compression.py DATABASE

The last columns are what storing has cost at most: the thorough search for what workers compress, the hasty
one for what the writer does, and reading it again.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import ormsgpack
import zstandard

from gatewayd.blobs import codec, cut

STORED = {
    "metadata of checkpoints": "SELECT metadata_packed FROM checkpoints WHERE metadata_packed IS NOT NULL",
    "small checkpoints": "SELECT checkpoint FROM checkpoints WHERE format = 3 AND type NOT LIKE '%+%'",
    "small writes": "SELECT value FROM writes WHERE format = 3 AND type NOT LIKE '%+%'",
    "kwargs of runs": "SELECT kwargs_packed FROM runs WHERE kwargs_packed IS NOT NULL",
}
LENGTHS = (256, 512, 1024, 4096, 16384, 1 << 40)


def bodies(connection: sqlite3.Connection) -> Iterator[tuple[str, bytes]]:
    """Yield contents and what they are."""
    for name, statement in STORED.items():
        for (column,) in connection.execute(statement):
            yield name, codec.content(column)
    for (manifest,) in connection.execute("SELECT checkpoint FROM checkpoints WHERE format = 2"):
        _, kind, body = ormsgpack.unpackb(manifest)
        if kind != cut.SEALED:
            yield "manifests of checkpoints", codec.unpacked(kind, body)
    for (records,) in connection.execute("SELECT records FROM events"):
        packed = codec.content(records) if records[0] in (codec.ZSTD, codec.PRIMED) else records
        yield f"events, up to {bound(packed)} bytes", packed
    kinds = (codec.PLAIN, codec.ZSTD, codec.PRIMED)
    for kind, body in connection.execute(f"SELECT kind, body FROM blobs WHERE kind IN {kinds}"):
        content = codec.unpacked(kind, body)
        yield f"blobs, up to {bound(content)} bytes", content


def bound(content: bytes) -> int:
    """Return the class of lengths that a content belongs to."""
    return next(length for length in LENGTHS if len(content) <= length)


def tried(contents: list[bytes], function: Callable[[bytes], Any]) -> tuple[list[Any], float]:
    """Return what a function makes of contents, and µs of each."""
    function(contents[0])
    began = time.perf_counter()
    made = [function(content) for content in contents]
    return made, (time.perf_counter() - began) / len(contents) * 1e6


def main() -> None:
    """Print a line for each kind of body."""
    found: dict[str, list[bytes]] = {}
    with sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True) as connection:
        for name, content in bodies(connection):
            found.setdefault(name, []).append(content)
    plain = zstandard.ZstdCompressor(level=codec.FAST)
    print(
        f"{'mean bytes and µs':<32}{'count':>8}{'content':>10}{'zstd':>16}{'thorough':>16}{'hasty':>16}{'read':>7}"
    )
    for name, contents in sorted(found.items()):
        framed, framed_us = tried(contents, plain.compress)
        packed, packed_us = tried(contents, codec.column)
        hasty, hasty_us = tried(contents, lambda content: codec.column(content, hasty=True))
        _, read_us = tried(packed, codec.content)
        print(f"{name:<32}{len(contents):>8}{mean(contents):>10.0f}", end="")
        for made, each in ((framed, framed_us), (packed, packed_us), (hasty, hasty_us)):
            print(f"{mean(made):>9.0f}{each:>7.1f}", end="")
        print(f"{read_us:>7.1f}")


def mean(made: list[bytes]) -> float:
    """Return the mean length."""
    return sum(map(len, made)) / len(made)


if __name__ == "__main__":
    main()
