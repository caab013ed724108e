"""
What the parts of a body may have at most: those that the server itself stores beside each other, reads and
compares.
"""

from __future__ import annotations

from typing import Any, Final

from attrs import frozen

from gatewayd.errors import Invalid

PARTS: Final = ("metadata", "config", "context")
"""Fields of any body that have few values."""
LISTS: Final = ("ids", "thread_ids", "run_ids")
"""Fields of any body that list what there is."""
INNER: Final = ("params",)
"""Fields that hold the fields of another body."""


@frozen(kw_only=True)
class Limits:
    """The limits of a server."""

    part_values: int
    metadata_bytes: int
    ids: int
    batch: int

    @property
    def least(self) -> int:
        """A body of fewer bytes is within all of them."""
        return min(self.part_values, self.metadata_bytes, self.ids, self.batch)

    def check(self, body: Any) -> None:
        """Look at what may be in a body of any kind. Raises `Invalid`, which names the field."""
        match body:
            case dict():
                self._check_fields(body, ())
            case list():
                if len(body) > self.batch:
                    raise Invalid(f"The batch has more than {self.batch} items")
                for position, item in enumerate(body):
                    if isinstance(item, dict):
                        self._check_fields(item, (str(position),))

    def _check_fields(self, body: dict[str, Any], place: tuple[str, ...]) -> None:
        for name in PARTS:
            self._check_part(body.get(name), (*place, name))
        for name in LISTS:
            if isinstance(found := body.get(name), list) and len(found) > self.ids:
                raise Invalid(f"`{'.'.join((*place, name))}` has more than {self.ids} items")
        for name in INNER:
            if isinstance(found := body.get(name), dict):
                self._check_fields(found, (*place, name))

    def _check_part(self, part: Any, place: tuple[str, ...]) -> None:
        if not isinstance(part, dict | list | str):
            return
        values, size = measured(part, self.part_values)
        if values > self.part_values:
            raise Invalid(f"`{'.'.join(place)}` has more than {self.part_values} values")
        if place[-1] == "metadata" and size > self.metadata_bytes:
            raise Invalid(f"`{'.'.join(place)}` is larger than {self.metadata_bytes} bytes")


def measured(part: Any, most: int) -> tuple[int, int]:
    """
    Return how many values a part has, itself included, and about how many bytes its JSON.

    Once there are more values than `most`, it is not looked at further.
    """
    values, size, left = 1, 0, [part]
    while left and values <= most:
        match left.pop():
            case dict() as found:
                values += len(found)
                size += 2 + sum(len(name.encode()) + 4 for name in found)
                left += found.values()
            case list() as found:
                values += len(found)
                if values <= most:
                    size += 2 + len(found)
                    left += found
            case str() as text:
                size += len(text.encode()) + 2
            case _ as other:
                size += len(str(other))
    return values, size
