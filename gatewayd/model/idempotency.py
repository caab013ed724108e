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
    """Tells the request from others, see `of`."""
    owner: str = ""
    """Whose key it is; everybody's while there are no users."""

    @classmethod
    def of(cls, key: str, method: str, path: str, body: bytes) -> Idempotency:
        digest = cls.digest(method, path)
        digest.update(body)
        return cls(key=key, fingerprint=digest.hexdigest())

    @staticmethod
    def digest(method: str, path: str) -> _Hash:
        """Return what the pieces of a request's body are fed to; its hexdigest is the fingerprint."""
        return hashlib.sha256(b"%b %b\n" % (method.encode(), path.encode()))

    def item(self, position: int) -> Idempotency:
        """Mark an item of a batch."""
        return Idempotency(key=f"{self.key}#{position}", fingerprint=self.fingerprint, owner=self.owner)
