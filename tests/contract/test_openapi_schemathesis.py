"""The running API against its own OpenAPI document: every operation, every check, nothing left out."""

import asyncio
import re
import threading
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
import requests
import schemathesis
from hypothesis import settings
from schemathesis import Case
from schemathesis.checks import load_all_checks
from schemathesis.core.result import Ok
from schemathesis.pytest.lazy import get_all_tests

from query_api.openapi import document
from query_api.openapi.schemas import SESSION_ID
from query_api.streams import waiter as stream_waiter
from readmodel.values.poll_query import MAX_STEPS, MAX_TYPES
from tests.support.builders import BOTH_KEY, serving
from tests.support.stands import real_stand, rows

_TOO_MANY = {
    "event_type": [f"{'a' * (n % 50)}{'b' * (n // 50)}_" for n in range(MAX_TYPES + 1)],
    "step_id": [str(UUID(int=n)) for n in range(MAX_STEPS + 1)],
}
_TOO_MANY["type"] = _TOO_MANY["event_type"]
_DRAWN = settings(max_examples=10, deadline=None, derandomize=True)
"""On top of the cases at each bound, which are not drawn."""
_MOMENT = "0.05"
_TIME = re.compile(r"[0-5]?\d(\.\d*)?|60(\.0*)?|\d(\.\d+)?e-\d+")


@pytest.fixture(scope="module")
def api_url(urls_of_servers: tuple[str, str], installed: None) -> Iterator[str]:
    """An API over real servers, served by uvicorn in a thread: schemathesis is synchronous."""
    del installed
    started, stop = threading.Event(), asyncio.Event()
    told: dict[str, Any] = {}

    async def serve() -> None:
        told["loop"] = asyncio.get_running_loop()
        async with real_stand(*urls_of_servers, max_staleness_seconds=3600) as stand, serving(stand.app) as url:
            await stand.write(SESSION_ID, rows(SESSION_ID, 20, "workflow_started", "workflow_failed"))
            await stand.heat(SESSION_ID)
            told["url"] = url
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert started.wait(30)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream_waiter, "HOLD_SECONDS", 0.05)
        # Without it, requests reads the whole environment four times a request.
        patch.setenv("NO_PROXY", "127.0.0.1")
        yield told["url"]
    told["loop"].call_soon_threadsafe(stop.set)
    thread.join(30)


# Hypothesis takes it for a strategy's that the API, in its thread, draws the jitter of its pauses from `random`.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module:hypothesis.errors.HypothesisDeprecationWarning")
def test_the_api_keeps_to_its_document(api_url: str, subtests: pytest.Subtests) -> None:
    """Whatever is sent, valid or not.

    `schema.parametrize` would make the cases at collection, 4 s of work in each process of a run.
    """
    load_all_checks()
    schema = schemathesis.openapi.from_dict(document())
    found = list(get_all_tests(schema=schema, test_func=_keeps, settings=_DRAWN, given_kwargs=None))
    made = [one.ok() for one in found if isinstance(one, Ok)]

    assert len(made) == len(found), "an operation cannot be read"
    assert {operation.path for operation, _ in made} == set(document()["paths"])
    with requests.Session() as session:  # else each request makes a connection of its own
        session.trust_env = False
        for operation, test in made:
            with subtests.test(operation.label):
                test(api_url=api_url, session=session)


def _keeps(case: Case[Any], api_url: str, session: requests.Session) -> None:
    _keep_one_name_of_limit(case)
    _offer_an_offset(case)
    _wish_for_no_future(case)
    _wait_a_moment(case)
    _repeat_nothing(case)
    case.call_and_validate(base_url=api_url, headers={"X-API-Key": BOTH_KEY}, session=session)


def _keep_one_name_of_limit(case: Case[Any]) -> None:
    """OpenAPI cannot say that two parameters exclude each other: valid cases must be told."""
    valid = case.meta is None or case.meta.generation.mode.is_positive
    if valid and "limit" in (case.query or {}):
        case.query.pop("per_page", None)


def _offer_an_offset(case: Case[Any]) -> None:
    """OpenAPI cannot say that an offset is one that the stream gave: valid cases have the start or the end."""
    valid = case.meta is None or case.meta.generation.mode.is_positive
    if valid and "offset" in (case.query or {}):
        case.query["offset"] = ("-1", "now")[len(str(case.query["offset"])) % 2]


def _wish_for_no_future(case: Case[Any]) -> None:
    """Nor that an instant has passed."""
    valid = case.meta is None or case.meta.generation.mode.is_positive
    if valid and case.headers and case.headers.get("Readside-Not-Before", "") > "2026":
        case.headers.pop("Readside-Not-Before")


def _wait_a_moment(case: Case[Any]) -> None:
    """A poll that brings no news is held for as long as it says, and there are none here; small numbers have no e."""
    if _TIME.fullmatch(str((case.query or {}).get("wait", ""))):
        case.query["wait"] = _MOMENT
    if case.headers and "wait=" in case.headers.get("Prefer", ""):
        case.headers["Prefer"] = f"wait={_MOMENT}"


def _repeat_nothing(case: Case[Any]) -> None:
    """Nor can it say that what is repeated counts once: where a list is too long, it has as many different values."""
    for name, values in _TOO_MANY.items():
        given = (case.query or {}).get(name)
        if isinstance(given, list) and len(given) >= len(values):
            case.query[name] = values
