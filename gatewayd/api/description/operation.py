"""What an operation of the API reads and answers, declared at its handler.

    @routes.post("/threads/{thread_id:[^/]+}/copy")
    @operation(answers=shapes.Thread)
    async def copy_thread(request: web.Request) -> web.Response: …

The OpenAPI document is made of it (`openapi`). A handler without it has no description, and makes the
document fail; the tests compare what is declared with what handlers read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from attrs import field, frozen

H = TypeVar("H", bound=Callable[..., Any])

Schema = dict[str, Any]
"""A JSON Schema."""

TEXT: Final[Schema] = {"type": "string"}
FLAG: Final[Schema] = {"type": "boolean", "default": False}
WHOLE: Final[Schema] = {"type": "integer", "minimum": 0}
LIST: Final[Schema] = {"type": "array", "items": TEXT}

IDEMPOTENCY_KEY: Final = "Idempotency-Key"
LAST_EVENT_ID: Final = "Last-Event-ID"
PREFER: Final = "Prefer"


@frozen
class Answer:
    """A successful answer: what its body is (None: empty), its status, and the body's content type."""

    kind: Any
    status: int = 200
    content_type: str = "application/json"


NOTHING: Final = Answer(None, 204)
ACCEPTED: Final = Answer(None, 202)
STREAM: Final = Answer(str, content_type="text/event-stream")


@frozen(kw_only=True)
class Operation:
    """One operation."""

    body: type[Any] | None = None
    """The class of its body."""
    many: bool = False
    """The body is an array of such objects."""
    query: Mapping[str, Schema] = field(factory=dict)
    headers: tuple[str, ...] = ()
    answers: tuple[Answer, ...]
    refusal: type[Any] | None = None
    """The body of a 400, if it is not that of other errors."""


OPERATIONS: Final[dict[Callable[..., Any], Operation]] = {}
"""By handler."""


def operation(
    *,
    answers: Any,
    body: type[Any] | None = None,
    many: bool = False,
    query: Mapping[str, Schema] | None = None,
    headers: tuple[str, ...] = (),
    refusal: type[Any] | None = None,
) -> Callable[[H], H]:
    """
    Declare what a handler reads and answers; `answers` is a type of JSON, an `Answer`, or several in a tuple.
    """
    several = answers if isinstance(answers, tuple) else (answers,)
    made = Operation(
        body=body,
        many=many,
        query=query or {},
        headers=headers,
        answers=tuple(answer if isinstance(answer, Answer) else Answer(answer) for answer in several),
        refusal=refusal,
    )

    def declare(handler: H) -> H:
        OPERATIONS[handler] = made
        return handler

    return declare
