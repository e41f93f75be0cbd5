"""The page of the HTTP interface, from the OpenAPI document that the API serves."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.reference.tables import code, table

CONTRACT = Path(__file__).parents[2] / "specs/001-session-events/contracts/events-api.yaml"
Node = Mapping[str, Any]
HEAD = """# HTTP

```sh
curl -i -H "X-API-Key: $KEY" \\
  "$API/api/v2/sessions/$SESSION/events?event_type=workflow_failed&limit=20"
```

The API itself serves this document as OpenAPI 3.1 at `/openapi.json`, and as a page at `/docs`. HTTP/1.1 and 1.0 are
spoken; TLS and HTTP/2
are a proxy's business. What a good client does with it: [poll and follow](../guides/polling.md).

*This page is made from `specs/001-session-events/contracts/events-api.yaml` by `make reference`.*
"""
COMMON = ("X-Request-ID", "X-Content-Type-Options", "Referrer-Policy", "Cross-Origin-Resource-Policy", "Vary")
"""Headers that every answer has."""


@cache
def contract() -> Node:
    """The OpenAPI document."""
    loaded: Node = yaml.safe_load(CONTRACT.read_text())
    return loaded


def http_page() -> str:
    """Write the page."""
    return "\n".join([HEAD, _access(), _routes(), *_operations(), _headers(), _problems(), _objects()])


def _found(node: Node) -> Node:
    """Follow a reference."""
    while "$ref" in node:
        for part in node["$ref"].removeprefix("#/").split("/"):
            node = node[part] if "$ref" not in node or part in node else contract()[part]
    return node


def _component(kind: str, node: Node) -> tuple[str, Node]:
    """Find what is referred to, with its name; what is written in its place has the name ""."""
    name = node.get("$ref", "").rpartition("/")[2]
    return name, contract()["components"][kind][name] if name else node


def _access() -> str:
    schemes = contract()["components"]["securitySchemes"].values()
    rows = (
        (code("X-API-Key: …" if one["type"] == "apiKey" else "Authorization: Bearer …"), one["description"])
        for one in schemes
    )
    return f"## Who may ask\n\n{table(('header', 'holds'), rows)}"


def _methods() -> Iterator[tuple[str, str, Node]]:
    """Yield method, path and operation of each; HEAD is told of beside GET."""
    for path, item in contract()["paths"].items():
        for method, operation in item.items():
            if method == "get":
                yield "GET, HEAD" if "head" in item else "GET", path, operation
            elif method != "head":
                yield method.upper(), path, operation


def _routes() -> str:
    rows = (
        (code(f"{method} {path}"), f"[{operation['summary']}](#{_anchor(operation['summary'])})", _who(operation))
        for method, path, operation in _methods()
    )
    return f"## Routes\n\n{table(('route', 'answers', 'needs'), rows)}"


def _anchor(heading: str) -> str:
    return "".join(one for one in heading.lower() if one.isalnum() or one in "-_ ").replace(" ", "-")


def _who(operation: Node) -> str:
    if operation.get("security") == []:
        return "nothing"
    tokens = any("Token" in one for one in operation.get("security", ()))
    return "a key with `read`, or a token" if tokens else "a key with `ops`"


def _operations() -> Iterator[str]:
    for method, path, operation in _methods():
        yield f"## {operation['summary']}\n"
        yield f"```text\n{method} {path}\n```\n"
        yield " ".join(operation.get("description", "").split()) + "\n"
        if parameters := [_component("parameters", one)[1] for one in operation.get("parameters", ())]:
            yield table(("parameter", "in", "type", "meaning"), map(_parameter, parameters))
        yield table(("status", "means", "headers besides those of every answer"), _answers(operation["responses"]))
        yield from _examples(operation["responses"])


def _parameter(one: Node) -> tuple[str, str, str, str]:
    return code(one["name"]), one["in"], _type(one["schema"]), _sentence(one.get("description", ""))


def _answers(responses: Node) -> Iterator[tuple[str, str, str]]:
    for status, response in responses.items():
        name, found = _component("responses", response)
        first = found["description"].partition(". ")[0].rstrip(".")
        means = f"[{first}](#{_anchor(_problem(name))})" if name else _sentence(found["description"])
        own = [code(header) for header in found.get("headers", ()) if header not in COMMON]
        yield status, means, ", ".join(own) or "–"


def _examples(responses: Node) -> Iterator[str]:
    for status, response in responses.items():
        for content in () if "$ref" in response else response.get("content", {}).values():
            for name, value in _values(content):
                of = f", {name}" if name else ""
                yield f"An answer with {status}{of}:\n\n```json\n{_json(value)}\n```\n"


def _values(content: Node) -> Iterator[tuple[str, Any]]:
    if isinstance(content.get("example"), dict | list):
        yield "", content["example"]
    for name, example in content.get("examples", {}).items():
        if isinstance(example["value"], dict | list):
            yield name, example["value"]


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _headers() -> str:
    headers = contract()["components"]["headers"].items()
    rows = (
        (code(name), _type(one["schema"]), _sentence(one["description"]), code(one["example"])) for name, one in headers
    )
    return (
        f"## Headers of answers\n\n{', '.join(map(code, COMMON[:-1]))} are on every answer.\n\n"
        f"{table(('header', 'type', 'meaning', 'example'), rows)}"
    )


def _problems() -> str:
    parts = ["## Errors\n\nAn error is `application/problem+json` (RFC 9457). Its `detail` is a full sentence.\n"]
    responses = contract()["components"]["responses"]
    for name, response in sorted(responses.items(), key=lambda one: _problem(one[0])):
        parts.append(f"### {_problem(name)}\n\n{_sentence(response['description'])}\n")
        for content in response["content"].values():
            for case, value in _values(content):
                of = f"{case[0].upper()}{case[1:]}:\n\n" if case else ""
                parts.append(f"{of}```json\n{_json(value)}\n```\n")
    return "\n".join(parts)


def _problem(name: str) -> str:
    """Head the section of an error: its status, and what the document calls it, in words."""
    content = contract()["components"]["responses"][name]["content"]["application/problem+json"]
    status = next(value["status"] for _, value in _values(content))
    return f"{status} {re.sub('(?<=[a-z])(?=[A-Z])', ' ', name).lower()}"


def _objects() -> str:
    parts = ["## Objects\n"]
    for name, schema in contract()["components"]["schemas"].items():
        parts.append(f"### {name}\n\n{_sentence(schema.get('description', ''))}\n")
        if rows := list(_members(schema, "")):
            parts.append(table(("member", "type", "meaning"), rows))
    return "\n".join(parts)


def _members(schema: Node, prefix: str) -> Iterator[tuple[str, str, str]]:
    required = set(schema.get("required", ()))
    for name, member in schema.get("properties", {}).items():
        optional = "" if name in required else " May be missing."
        yield code(prefix + name), _type(member), _sentence(member.get("description", "")) + optional
        inner = member.get("items", member)
        yield from _members(inner, f"{prefix}{name}[]." if "items" in member else f"{prefix}{name}.")


def _type(schema: Node) -> str:
    """Say what a value is and what bounds it has."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return " or ".join(map(_type, schema[word]))
    if "const" in schema:
        return code(schema["const"])
    if "enum" in schema:
        return " or ".join(code("null" if one is None else one) for one in schema["enum"]) + _but(schema)
    if "items" in schema:
        most = f"up to {schema['maxItems']:,}" if "maxItems" in schema else "any number"
        return f"list, {most}, of {_type(schema['items'])}"
    kinds = schema.get("type", "any JSON")
    kind = " or ".join([kinds] if isinstance(kinds, str) else kinds)
    return kind + "".join(f", {bound}" for bound in _bounds(schema)) + _but(schema)


def _but(schema: Node) -> str:
    return f"; {code(schema['default'])} by default" if "default" in schema else ""


def _bounds(schema: Node) -> Iterator[str]:
    if "format" in schema:
        yield schema["format"]
    for least, most, unit in (("minimum", "maximum", ""), ("minLength", "maxLength", " characters")):
        low, high = schema.get(least), schema.get(most)
        if low is not None and high is not None:
            yield f"{low:,} to {high:,}{unit}"
        elif low is not None:
            yield f"{low:,} or more{unit}"
        elif high is not None:
            yield f"at most {high:,}{unit}"
    if "pattern" in schema:
        yield code(schema["pattern"])


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text if not text or text[-1] in ".!?" else f"{text}."
