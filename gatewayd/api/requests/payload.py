"""The bytes of a request's body as they come: what they are encoded with, and what is too much of them.

A body is read in small pieces, and others have their turn between them. What a compressed body becomes is
limited by its ratio too: a few kilobytes may not occupy the server with what fills its memory.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web
from attrs import define, field

from gatewayd import structure
from gatewayd.api import faults, keys
from gatewayd.errors import Invalid, TooLarge
from gatewayd.model.idempotency import Idempotency

if TYPE_CHECKING:
    from hashlib import _Hash

ENCODINGS: Final = ("gzip", "deflate")
"""What bodies may be compressed with."""
UNSUSPICIOUS: Final = 1024 * 1024
"""Bytes that any compressed body may become."""


@define(eq=False)
class Body:
    """A whole body."""

    pieces: list[bytes] = field(factory=list)
    size: int = 0
    values: int = 0
    """How many there are at most."""
    fingerprint: str = ""
    """Tells the request from others, if it has an ``Idempotency-Key``."""

    def whole(self) -> bytes:
        """Return the body in one piece, which takes its time for a large one."""
        return self.pieces[0] if len(self.pieces) == 1 else b"".join(self.pieces)


BODY: Final = web.RequestKey("body", Body)


async def received(request: web.Request) -> Body:
    """Return a request's body, as JSON with a limited number of values. Raises `Invalid`, `TooLarge`."""
    if BODY not in request:
        request[BODY] = await _received(request)
    return request[BODY]


async def _received(request: web.Request) -> Body:
    options = request.app[keys.SERVICES].settings
    body, counted = Body(), structure.Structure(options.max_body_values)
    digest = (
        Idempotency.digest(request.method, request.path) if "Idempotency-Key" in request.headers else None
    )
    while piece := await request.content.readany():
        if body.pieces:
            await asyncio.sleep(0)  # what is decompressed is there at once, piece after piece
        body.pieces.append(piece)
        body.size += len(piece)
        if body.size > request.client_max_size:
            raise TooLarge(faults.TOO_LARGE.format(request.client_max_size))
        _check_ratio(request, body.size, options.max_body_ratio)
        try:
            await _look_at(piece, counted, digest)
        except Invalid as error:
            if request.content.total_compressed_bytes is None:
                raise
            raise TooLarge(error.detail) from None  # what is left of it is not even decompressed
    body.values = counted.values
    if digest is not None:
        body.fingerprint = digest.hexdigest()
    return body


async def of_bytes(request: web.Request, data: bytes) -> Body:
    """Return JSON that has come in another way as a body. Raises `Invalid`."""
    found = structure.Structure(request.app[keys.SERVICES].settings.max_body_values)
    await _look_at(data, found, None)
    return Body([data], len(data), found.values)


async def _look_at(piece: bytes, counted: structure.Structure, digest: _Hash | None) -> None:
    for start in range(0, len(piece), structure.STEP):
        if start:
            await asyncio.sleep(0)
        step = piece[start : start + structure.STEP] if len(piece) > structure.STEP else piece
        counted.feed(step)
        if digest is not None:
            digest.update(step)


def _check_ratio(request: web.Request, size: int, most: int) -> None:
    compressed: int | None = request.content.total_compressed_bytes
    if compressed is not None and size > max(UNSUSPICIOUS, most * compressed):
        raise TooLarge(f"The request body is compressed by more than {most} to 1")


def has_unknown_encoding(request: web.BaseRequest) -> bool:
    """Whether a body is encoded in a way that it is not decoded from."""
    encoding = request.headers.get(hdrs.CONTENT_ENCODING, "").strip().lower()
    return request.body_exists and encoding not in {"", "identity", *ENCODINGS}


def unknown_encoding() -> web.Response:
    """Return the refusal of such a body; the rest of it is not read, so the connection ends."""
    known = ", ".join(ENCODINGS)
    refused = faults.response(
        415, f"Unsupported Content-Encoding (supported: {known})", {hdrs.ACCEPT_ENCODING: known}
    )
    refused.force_close()
    return refused
