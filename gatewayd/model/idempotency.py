"""The key by which a client marks a request that must take effect once."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from hashlib import _Hash


@frozen(kw_only=True)
class Idempotency:
    """A request with an ``Idempotency-Key``."""

    key: str
    """1 to 255 printable ASCII characters."""
    fingerprint: str
    """SHA-256 of method, path and body; a key is valid for one request only."""
    owner: str = ""
    """The user whose key it is; empty while there are no users."""

    @classmethod
    def of(cls, key: str, method: str, path: str, body: bytes) -> Idempotency:
        digest = cls.digest(method, path)
        digest.update(body)
        return cls(key=key, fingerprint=digest.hexdigest())

    @staticmethod
    def digest(method: str, path: str) -> _Hash:
        """Return the hash to update with the request's body; its hexdigest is the fingerprint."""
        return hashlib.sha256(b"%b %b\n" % (method.encode(), path.encode()))

    def item(self, position: int) -> Idempotency:
        """Return the key of an item of a batch."""
        return Idempotency(key=f"{self.key}#{position}", fingerprint=self.fingerprint, owner=self.owner)
