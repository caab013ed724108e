"""
Requests made from the API's own description, against a real server: none may end in a 5xx, and every answer
is as the description says. What is not asked: streams and waits, which last, and the deletion of what others
need.
"""

from __future__ import annotations

from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

pytestmark = pytest.mark.xdist_group("reference")  # the server of the recorded scenarios is there already

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
LASTING = ("/stream", "/events", "/wait", "/join")
MANY = 150
FEW = 3


def examples(count: int) -> Any:
    return hypothesis.settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=[*HealthCheck],
    )


def ask(served: str, count: int) -> tuple[list[str], int]:
    """Try every operation with so many requests; return what was wrong, and how many operations there are."""
    document = requests.get(f"{served}/openapi.json", timeout=30).json()
    api = schemathesis.openapi.from_dict(document)
    api.config.update(base_url=served)
    wrong: list[str] = []
    asked = 0
    with requests.Session() as session:
        for found in api.get_all_operations():
            operation = found.ok()
            if operation.path.endswith(LASTING):
                continue
            asked += 1
            if problem := _try(operation, session, count):
                wrong.append(f"{operation.method.upper()} {operation.path}: {problem}")
    return wrong, asked


def _try(operation: Any, session: requests.Session, count: int) -> str | None:
    @examples(count)
    @hypothesis.given(case=operation.as_strategy())
    def one(case: Any) -> None:
        response = case.call(session=session, timeout=30)
        case.validate_response(response, checks=CHECKS)

    try:
        one()
    except BaseExceptionGroup as group:
        return "\n".join(str(error) for error in group.exceptions)
    except Exception as error:
        return str(error)
    return None


def test_a_few_requests_of_every_operation_are_answered_as_the_document_says(served: str) -> None:
    wrong, asked = ask(served, FEW)
    assert not wrong, "\n\n".join(wrong)
    assert asked > 40


@pytest.mark.storm
@pytest.mark.timeout(1200)
def test_many_requests_of_every_operation_are_answered_as_the_document_says(served: str) -> None:
    wrong, _ = ask(served, MANY)
    assert not wrong, "\n\n".join(wrong)
