"""The OpenAPI document: equal to the file that is published, complete, and true of the running routes."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import jsonschema_rs
import orjson
import pytest
import yaml

from query_api.access.denials import too_many
from query_api.access.gate import Credential, Gate
from query_api.http.reply import SAFETY
from query_api.memory.staleness import Staleness
from query_api.openapi import document
from query_api.openapi.__main__ import as_yaml
from query_api.openapi.parts import HEADERS, PARAMETERS
from query_api.openapi.schemas import SESSION_ID
from query_api.operators.pages import Pages
from query_api.operators.routes import Operations
from query_api.service import Service

PUBLISHED = Path(__file__).parents[2] / "specs/001-session-events/contracts/events-api.yaml"
DOCUMENT = document()
EVENTS = "/api/v2/sessions/{session_id}/events"
STREAM = "/api/v2/sessions/{session_id}/stream"
OPERATIONS = [
    (path, method, operation) for path, item in DOCUMENT["paths"].items() for method, operation in item.items()
]


def resolved(part: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference, if it is one."""
    found: dict[str, Any] = part
    if "$ref" in part:
        found = DOCUMENT
        for key in part["$ref"].removeprefix("#/").split("/"):
            found = found[key]
    return found


def test_the_published_file_is_what_the_api_serves() -> None:
    """`python -m query_api.openapi` writes it anew."""
    text = PUBLISHED.read_text(encoding="utf-8")

    assert text == as_yaml()
    assert yaml.safe_load(text) == DOCUMENT


def test_it_is_openapi_3_1() -> None:
    """Schemathesis reads and checks the rest of it."""
    assert DOCUMENT["openapi"] == "3.1.0"


def test_every_route_is_described() -> None:
    """But the pages' own assets."""
    service = cast("Service", SimpleNamespace(config=SimpleNamespace(max_staleness_seconds=5.0)))
    served = {
        (route.path, method.lower())
        for route in (*Operations(service).routes(), *Pages("").routes())
        for method in (route.methods or set()) - {"HEAD"}
    }
    described = {(path, method) for path, method, _ in OPERATIONS if method != "head"}

    assets = {("/static/{name}", "get"), ("/console/{name}", "get")}
    assert described == (served | {(EVENTS, "get"), (STREAM, "get")}) - assets


def test_every_get_has_its_head() -> None:
    """The same statuses and headers, no bodies."""
    for path, item in DOCUMENT["paths"].items():
        if "get" in item:
            assert item["head"]["responses"].keys() == item["get"]["responses"].keys(), path
            assert not any("content" in response for response in item["head"]["responses"].values())


def test_every_parameter_of_a_poll_is_described() -> None:
    """Query, path and headers; keys are security schemes."""
    parameters = [resolved(part) for part in DOCUMENT["paths"][EVENTS]["get"]["parameters"]]

    assert {(one["name"], one["in"]) for one in parameters} == {
        ("session_id", "path"),
        ("since", "query"),
        ("event_type", "query"),
        ("type", "query"),
        ("step_id", "query"),
        ("limit", "query"),
        ("per_page", "query"),
        ("page", "query"),
        ("order", "query"),
        ("wait", "query"),
        ("_", "query"),
        ("If-None-Match", "header"),
        ("Accept-Encoding", "header"),
        ("Readside-Max-Staleness", "header"),
        ("Readside-Not-Before", "header"),
        ("Prefer", "header"),
        ("Traceparent", "header"),
        ("X-Request-ID", "header"),
    }
    assert all(one["description"] and "example" in one for one in parameters)


def test_every_status_of_a_poll_is_described() -> None:
    """Each with its headers."""
    responses = {status: resolved(part) for status, part in DOCUMENT["paths"][EVENTS]["get"]["responses"].items()}

    assert list(responses) == [
        *("200", "304", "400", "401", "403", "404", "405"),
        *("408", "413", "429", "431", "500", "503"),
    ]
    assert set(responses["200"]["headers"]) == set(responses["304"]["headers"]) | {"Content-Encoding"}
    for status in ("200", "304", "404"):
        assert {"Readside-Source", "Readside-As-Of", "Readside-Lag-Ms"} <= set(responses[status]["headers"])
    assert "WWW-Authenticate" in responses["401"]["headers"]
    assert all("Retry-After" in responses[status]["headers"] for status in ("429", "503"))


def test_every_answer_has_the_fields_that_all_bear() -> None:
    """The request's id, and what browsers must know."""
    everywhere = {"x-request-id": None} | {name.decode(): value.decode() for name, value in SAFETY.pairs}
    for path, method, operation in OPERATIONS:
        for status, response in operation["responses"].items():
            described = {name.lower(): resolved(part)["schema"] for name, part in _headers(response).items()}

            assert described.keys() >= everywhere.keys(), f"{method} {path} {status}"
            assert {name: described[name].get("const") for name in everywhere} == everywhere


def _headers(response: dict[str, Any]) -> dict[str, Any]:
    headers: dict[str, Any] = resolved(response)["headers"]
    return headers


def test_tokens_read_and_warm_sessions_and_nothing_else() -> None:
    """What each operation takes; who may do everything has a key."""
    takes = {
        path: sorted(name for one in operation.get("security", DOCUMENT["security"]) for name in one)
        for path, _, operation in OPERATIONS
    }
    keyed = {path: schemes for path, schemes in takes.items() if schemes}

    for path in (EVENTS, STREAM, "/api/v2/sessions/{session_id}/warm"):
        assert keyed.pop(path) == ["ApiKey", "Bearer", "Token"]
    assert set(keyed) == {path for path in takes if path.startswith("/api/v2/projection")}
    assert set(map(tuple, keyed.values())) == {("ApiKey", "Bearer")}
    assert DOCUMENT["components"]["securitySchemes"]["Token"]["bearerFormat"] == "JWT"


def test_every_route_with_a_key_may_refuse() -> None:
    """By 401, 403 and 429; the others by none of them."""
    for path, method, operation in OPERATIONS:
        refusals = {"401", "403", "429"} & operation["responses"].keys()

        assert refusals == ({"401", "403", "429"} if path.startswith("/api/") else set()), f"{method} {path}"


def test_the_sentences_of_refusals_are_those_that_are_said() -> None:
    """Each example of a 403 and the 429, from the gate itself."""
    gate = Gate({b"": ("dashboard", frozenset({"read"}))})
    token = Credential(gate.principals.of_token("some"), frozenset({"read"}), gate.edition, sessions=frozenset())
    key = Credential(gate.principals.of_key("dashboard"), frozenset({"read"}), gate.edition)
    everything = Credential(gate.principals.of_token("all"), frozenset({"read"}), gate.edition)
    denials = [
        *(key.lacks("ops"), token.denies(SESSION_ID), everything.denies(SESSION_ID, Staleness(0.0, explicit=True))),
        token.lacks("ops"),
    ]

    assert [orjson.loads(denial.reply.body) for denial in denials if denial] == _examples("403")
    assert [orjson.loads(too_many(gate.principals.anybody, 1).reply.body)] == _examples("429")


def _examples(status: str) -> list[Any]:
    (body,) = resolved(DOCUMENT["paths"][EVENTS]["get"]["responses"][status])["content"].values()
    return [one["value"] for one in body["examples"].values()] if "examples" in body else [body["example"]]


@pytest.mark.parametrize(
    ("path", "method", "operation"), OPERATIONS, ids=lambda part: part if type(part) is str else ""
)
def test_every_body_has_an_example_that_fits_its_schema(path: str, method: str, operation: dict[str, Any]) -> None:
    """An example that is wrong is worse than none."""
    for part in operation["responses"].values():
        for body in resolved(part).get("content", {}).values():
            examples = [one["value"] for one in body["examples"].values()] if "examples" in body else [body["example"]]
            schema = {**body["schema"], "components": DOCUMENT["components"]}
            for example in examples:
                jsonschema_rs.validate(schema, example)


@pytest.mark.parametrize("part", [*HEADERS.values(), *PARAMETERS.values()], ids=[*HEADERS, *PARAMETERS])
def test_every_parameter_and_header_has_an_example_that_fits(part: dict[str, Any]) -> None:
    """The same of them."""
    jsonschema_rs.validate(part["schema"], part["example"])


def test_operation_ids_are_unique() -> None:
    """Generated clients name their methods by them."""
    names = [operation["operationId"] for _, _, operation in OPERATIONS]

    assert len(names) == len(set(names))


@pytest.mark.parametrize(("root_path", "url"), [("", "/"), ("/readside", "/readside"), ("/a/b/", "/a/b")])
def test_the_server_is_the_prefix(root_path: str, url: str) -> None:
    """So that generated clients and the docs page reach it behind a proxy."""
    assert document(root_path)["servers"] == [{"url": url}]


def test_every_reference_leads_somewhere() -> None:
    """No part is named that is not there."""
    for reference in re.findall(r"\$ref: (\S+)", as_yaml()):
        assert resolved({"$ref": reference.strip("'\"")})
