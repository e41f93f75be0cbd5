"""The OpenAPI 3.1 document: written by hand, since it says more than signatures can, and held to the app by tests."""

from __future__ import annotations

from typing import Any

from query_api.openapi.parts import HEADERS, PARAMETERS, RESPONSES, SECURITY
from query_api.openapi.paths import paths
from query_api.openapi.schemas import SCHEMAS
from readmodel.version import VERSION

_DESCRIPTION = """\
Polls of sessions' events. Each answer says where it comes from and how fresh it is: every event whose commit was
acknowledged before `Readside-As-Of` is in it. Poll with `If-None-Match`: an answer that has not changed costs a 304.

`since` filters by the events' own timestamps. Applications set these before they commit, so an event may appear with
a timestamp below one that you have seen: ask with some overlap, and drop what you have by `id`.
"""


def document(root_path: str = "") -> dict[str, Any]:
    """Build the document for an API that is reached under `root_path`."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "readside",
            "version": VERSION,
            "summary": "Session events, polled.",
            "description": _DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": root_path.rstrip("/") or "/"}],
        "security": [{"ApiKey": []}, {"Bearer": []}],
        "tags": [
            {"name": "events", "description": "What dashboards poll."},
            {"name": "projection", "description": "What operators look at."},
            {"name": "service", "description": "Health, metrics and pages; no key needed."},
        ],
        "paths": paths(),
        "components": {
            "parameters": PARAMETERS,
            "headers": HEADERS,
            "responses": RESPONSES,
            "schemas": SCHEMAS,
            "securitySchemes": SECURITY,
        },
    }
