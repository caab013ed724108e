"""The bytes of a request's body as they come."""

from __future__ import annotations

from typing import Final

from aiohttp import hdrs, web

from gatewayd.api import faults

ENCODINGS: Final = ("gzip", "deflate")
"""What bodies may be compressed with."""


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
