"""What was used lately, by content: bytes under their hash, or under whatever names them."""

from __future__ import annotations

from collections import OrderedDict

from attrs import define, field


@define
class LruCache:
    """Keeps up to `budget` bytes; what was not used for longest goes first. What is larger is not kept."""

    budget: int
    held: int = field(default=0, init=False)
    """Bytes that are kept."""
    _content: OrderedDict[bytes, bytes] = field(factory=OrderedDict, init=False)

    def get(self, name: bytes) -> bytes | None:
        """Return the content, None if it is not there."""
        found = self._content.get(name)
        if found is not None:
            self._content.move_to_end(name)
        return found

    def put(self, name: bytes, content: bytes) -> None:
        if len(content) > self.budget or name in self._content:
            return
        self._content[name] = content
        self.held += len(content)
        while self.held > self.budget:
            _, gone = self._content.popitem(last=False)
            self.held -= len(gone)
