"""The OpenAPI document tells the truth: a real server is asked whatever the document allows, and much that it does not.

The engines are at work meanwhile, so commands are answered.
"""

import socket
from collections.abc import Iterator
from copy import deepcopy
from threading import Thread
from typing import Any

import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from streams.clock import SystemClock
from streams.engines.session import session
from streams.store import open_store, queries
from streams.store.tokens import Scope
from streams.web.api.openapi import document
from tests.servers import engine, web
from tests.streams.shop import write

EXAMPLES = {GenerationMode.POSITIVE: 25, GenerationMode.NEGATIVE: 20}
CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
    negative_data_rejection,
]
ENDLESS = "/v1/feed/stream"


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Return a running server's address, a token, and its document."""
    shop = write(tmp_path_factory.mktemp("schema"))
    path = shop.folder / "tocsin.db"
    with session(path, shop.run(), SystemClock(), mode="recording") as found:
        found.read([str(shop.events)])
    with open_store(path) as store, engine.at_work(path), socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        app = web.app(store)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
        thread = Thread(target=server.run, kwargs={"sockets": [listening]}, name="server")
        thread.start()
        try:
            address = f"http://127.0.0.1:{listening.getsockname()[1]}"
            (case,) = queries.list_cases(store)
            yield address, web.token(store, Scope.ADMIN), with_real_ids(document(app), case.id)
        finally:
            server.should_exit = True
            thread.join()


TAKE_ANY_ID = {("/v1/customers/{customer}", "put"), ("/v1/customers/{customer}/opt-out", "post")}
"""Whom nobody knew is made a customer; or has asked not to be told, and that is kept."""


def with_real_ids(found: dict[str, Any], case: str) -> dict[str, Any]:
    """Return the document with ids that are there, so that not everything is a 404."""
    real = {"/v1/cases/": ("id", [case, "0" * 12]), "/v1/customers/": ("customer", ["C-1", "user2", "nobody"])}
    out = deepcopy(found)
    for path, item in out["paths"].items():
        for begin, (name, ids) in real.items():
            for verb, operation in item.items():
                if (path, verb) in TAKE_ANY_ID:
                    continue
                for parameter in operation.get("parameters", ()):
                    if path.startswith(begin) and (parameter["in"], parameter["name"]) == ("path", name):
                        parameter["schema"] = {"type": "string", "enum": ids}
    return out


def wrong(operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode, address: str, token: str) -> str:
    """Return what is wrong with an operation's answers; "" for nothing."""
    headers = {"Authorization": f"Bearer {token}"}

    @seed(1)
    @settings(
        max_examples=EXAMPLES[mode],
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def answers(case: Case[Any]) -> None:
        case.call_and_validate(base_url=address, headers=headers, checks=CHECKS)

    try:
        answers()
    except Unsatisfiable:  # nothing can be wrong with a request that takes nothing
        return ""
    except (BaseExceptionGroup, Failure) as error:
        return f"{operation.label}: {error}"
    return ""


@pytest.mark.slow
@pytest.mark.parametrize("mode", [pytest.param(mode, id=mode.value) for mode in EXAMPLES])
def test_the_service_answers_as_its_document_says(asked: tuple[str, str, dict[str, Any]], mode: GenerationMode) -> None:
    address, token, found = asked
    operations = [
        result.ok() for result in schemathesis.openapi.from_dict(found).get_all_operations() if isinstance(result, Ok)
    ]
    assert len(operations) > 50
    problems = [wrong(one, mode, address, token) for one in operations if one.path != ENDLESS]
    assert not [problem for problem in problems if problem], "\n\n".join(filter(None, problems))
