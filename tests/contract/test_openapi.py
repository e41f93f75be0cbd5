"""The OpenAPI document: equal to the file that is published, complete, and true of the running routes."""

import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from query_api import pages, routes
from query_api.openapi import document
from query_api.openapi.__main__ import as_yaml
from query_api.openapi.parts import HEADERS, PARAMETERS

PUBLISHED = Path(__file__).parents[2] / "specs/001-session-events/contracts/events-api.yaml"
DOCUMENT = document()
EVENTS = "/api/v2/sessions/{session_id}/events"
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
    served = {
        (route.path, method.lower())  # type: ignore[attr-defined]
        for route in (*routes.router.routes, *pages.router("").routes)
        for method in route.methods  # type: ignore[attr-defined]
    }
    described = {(path, method) for path, method, _ in OPERATIONS if method != "head"}

    assets = {("/static/{name}", "get"), ("/console/{name}", "get")}
    assert described == (served | {(EVENTS, "get")}) - assets


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
        ("limit", "query"),
        ("per_page", "query"),
        ("page", "query"),
        ("If-None-Match", "header"),
        ("Accept-Encoding", "header"),
        ("Readside-Max-Staleness", "header"),
        ("Traceparent", "header"),
        ("X-Request-ID", "header"),
    }
    assert all(one["description"] and "example" in one for one in parameters)


def test_every_status_of_a_poll_is_described() -> None:
    """Each with its headers."""
    responses = {status: resolved(part) for status, part in DOCUMENT["paths"][EVENTS]["get"]["responses"].items()}

    assert list(responses) == [
        *("200", "304", "400", "401", "403", "404", "405"),
        *("408", "413", "431", "500", "503"),
    ]
    assert set(responses["200"]["headers"]) == set(responses["304"]["headers"]) | {"Content-Encoding"}
    for status in ("200", "304", "404"):
        assert {"Readside-Source", "Readside-As-Of", "Readside-Lag-Ms"} <= set(responses[status]["headers"])
    assert "WWW-Authenticate" in responses["401"]["headers"]
    assert "Retry-After" in responses["503"]["headers"]


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
