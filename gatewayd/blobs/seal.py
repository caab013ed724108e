"""Encrypting what is stored: AES in EAX mode, as langgraph's `EncryptedSerializer` has it, byte for byte.

A sealed text is nonce (16 bytes), tag (16 bytes), ciphertext. What it belongs to (the address of a blob) may
go into the tag, so that it can't be put in another one's place. Who seals blobs has their addresses keyed
too: a plain hash would tell who can guess the content that it is there.
"""

from __future__ import annotations

import threading
from hashlib import blake2b
from typing import Any, Final

from gatewayd.blobs.cache import LruCache
from gatewayd.errors import BadConfiguration, Unreadable

VARIABLE: Final = "LANGGRAPH_AES_KEY"
"""The environment variable that has the key, as text; the reference's name."""
SIZES: Final = (16, 24, 32)
"""Bytes of a key."""
TAG: Final = "+aes"
"""Behind the serialiser's tag of a value that is sealed as a whole; langgraph's spelling."""

REMEMBERED_BYTES: Final = 32 << 20
"""
Contents of blobs that a seal keeps in memory: opening one takes a quarter of a millisecond, and each run
reads its state.
"""

_NONCE_BYTES: Final = 16
_OVERHEAD: Final = 32


class Locked(Unreadable):
    """What was read is encrypted, and there is no key, or another one."""


class Seal:
    """Seals and opens with one key, from any thread."""

    def __init__(self, key: bytes) -> None:
        """
        Take a key of 16, 24 or 32 bytes. Raises `BadConfiguration`, also if pycryptodome is not installed.
        """
        if len(key) not in SIZES:
            raise BadConfiguration(f"{VARIABLE} must be 16, 24 or 32 bytes long, not {len(key)}")
        try:
            from Crypto.Cipher import AES
        except ImportError:
            raise BadConfiguration(
                f"{VARIABLE} is set, but pycryptodome is not installed: pip install 'gatewayd[encryption]'"
            ) from None
        self._key = key
        self._aes: Any = AES
        self.address_key: bytes = blake2b(b"addresses of blobs", key=key, digest_size=32).digest()
        """For the hashes of plain contents."""
        self._kept = LruCache(REMEMBERED_BYTES)
        self._turn = threading.Lock()

    def remembered(self, address: bytes) -> bytes | None:
        """Return what a blob with this keyed address holds, in the clear, if that was used lately."""
        with self._turn:
            return self._kept.get(address)

    def remember(self, address: bytes, content: bytes) -> None:
        """Keep in memory what a blob holds that was sealed or opened."""
        with self._turn:
            self._kept.put(address, content)

    def close(self, content: bytes, about: bytes = b"") -> bytes:
        """Return the content sealed; only with the same `about` it can be opened."""
        cipher = self._aes.new(self._key, self._aes.MODE_EAX)
        if about:
            cipher.update(about)
        ciphertext, tag = cipher.encrypt_and_digest(content)
        return bytes(cipher.nonce + tag + ciphertext)

    def open(self, sealed: bytes, about: bytes = b"") -> bytes:
        """Return what was sealed. Raises `Locked` if it was sealed with another key, or is damaged."""
        cipher = self._aes.new(self._key, self._aes.MODE_EAX, nonce=sealed[:_NONCE_BYTES] or b"\0")
        if about:
            cipher.update(about)
        try:
            return bytes(cipher.decrypt_and_verify(sealed[_OVERHEAD:], sealed[_NONCE_BYTES:_OVERHEAD]))
        except ValueError:
            raise Locked(
                f"a stored state can't be decrypted: {VARIABLE} is not the key it was encrypted with"
            ) from None


def opened(seal: Seal | None, sealed: bytes, about: bytes = b"") -> bytes:
    """Return what was sealed. Raises `Locked`, also if there is no key."""
    if seal is None:
        raise Locked(f"a stored state is encrypted, and {VARIABLE} is not set")
    return seal.open(sealed, about)
