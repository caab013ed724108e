"""The key by which a client marks a request that must take effect once."""

from __future__ import annotations

import hashlib

from attrs import frozen


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
        """Mark a request."""
        text = b"%b %b\n%b" % (method.encode(), path.encode(), body)
        return cls(key=key, fingerprint=hashlib.sha256(text).hexdigest())

    def item(self, position: int) -> Idempotency:
        """Mark an item of a batch."""
        return Idempotency(key=f"{self.key}#{position}", fingerprint=self.fingerprint, owner=self.owner)
