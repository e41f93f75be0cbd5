"""The gate is missed: each of its calls, and each of its rules, when it is taken out, lets somebody read too much."""

from uuid import uuid4

import pytest

from query_api.access.token_config import TokenConfig
from tests.model.planting import Plant, planted
from tests.support.builders import READ_KEY, Way
from tests.support.signing import SECRET, claims, shared
from tests.support.stands import Stand, fake_stand, rows

_GATE = "query_api.access.gate:Gate"
_OPEN = "(setattr(g._anybody, 'edition', g.edition), setattr({fields}, 'credential', g._anybody))"
_BOTH: tuple[Way, ...] = ("asgi", "doorway")

PLANTS: dict[str, tuple[tuple[Way, ...], Plant]] = {
    "the doorway asks no gate": (
        ("doorway",),
        Plant(
            "a poll comes past the gate, by the doorway too",
            "query_api.doorway.protocol:Doorway._answer",
            "reply = front.at_once(name, question, self._address)",
            f"g = front._events._gate; {_OPEN.format(fields='question.fields')}\n"
            "    reply = front.at_once(name, question, self._address)",
        ),
    ),
    "the ASGI application asks no gate": (
        ("asgi",),
        Plant(
            "a poll comes past the gate, by any other server too",
            "query_api.doorway.layer:Layer._serve",
            "first = front.at_once(name, kind",
            f"g = front._events._gate; {_OPEN.format(fields='fields')}\n    first = front.at_once(name, kind",
        ),
    ),
    "polls are let in unasked": (
        _BOTH,
        Plant(
            "a poll comes past the gate",
            "query_api.requests.access_check:AccessCheck._judged",
            "credential = self._gate.credential(question.fields, now)",
            "credential = self._gate._anybody",
        ),
    ),
    "routes are let in unasked": (
        _BOTH,
        Plant(
            "a route comes past the gate",
            f"{_GATE}.admit",
            "if isinstance(found, Denial):\n        return self.denied(found, address)",
            "if isinstance(found, Denial):\n        return self._anybody",
        ),
    ),
    "whoever is let in may do everything": (
        _BOTH,
        Plant("a route needs its scope", f"{_GATE}.admit", "found.lacks(scope)", "None"),
    ),
    "a token reads every session": (
        _BOTH,
        Plant(
            "a token reads the sessions that it names",
            "query_api.access.gate:Credential.denies",
            "session_id not in self._sessions",
            "not session_id",
        ),
    ),
    "polls are not held against the token's sessions": (
        _BOTH,
        Plant(
            "a poll is held against the sessions of its token",
            "query_api.requests.access_check:AccessCheck._judged",
            "denial = credential.denies(session_id, question.wanted)",
            "denial = None",
        ),
    ),
    "what memory has is anybody's": (
        ("doorway",),  # which alone remembers polls, and the fields of their heads
        Plant(
            "the gate stands before memory",
            "query_api.requests.access_check:AccessCheck.holds",
            "return question.edition is self._gate.edition and now < question.until",
            "return question.edition is not None",
        ),
    ),
    "fields are let in for ever": (
        ("doorway",),
        Plant(
            "what was found for a request's fields holds until a key is withdrawn",
            f"{_GATE}.credential",
            "known.edition is self.edition and",
            "",
        ),
    ),
}


async def look_around(stand: Stand) -> None:
    """Try what nobody may; each line fails where somebody may after all."""
    mine, others = str(uuid4()), str(uuid4())
    for session_id in (mine, others):
        await stand.write(session_id, rows(session_id, 3))
        await stand.heat(session_id)
    await stand.poll_from("memory", others)
    stand.client.headers.pop("x-api-key")
    shown = {"authorization": f"Bearer {shared().token(claims(mine)).decode()}"}
    warm = f"/api/v2/sessions/{others}/warm"
    statuses = [
        (await stand.poll(others)).status_code,
        (await stand.poll(others, **shown)).status_code,
        (await stand.follow(others)).status_code,
        (await stand.follow(others, **shown)).status_code,
        (await stand.client.post(warm)).status_code,
        (await stand.client.post(warm, headers=shown)).status_code,
        (await stand.client.get("/api/v2/projection")).status_code,
        (await stand.client.get("/api/v2/projection", headers=shown)).status_code,
        (await stand.client.get("/api/v2/projection", headers={"x-api-key": READ_KEY})).status_code,
    ]
    assert statuses == [401, 403, 401, 403, 401, 403, 401, 403, 403]
    for _ in range(3):  # remembered by now, whole
        assert (await stand.poll(mine, x_api_key=READ_KEY)).status_code == 200
    stand.app._front._events._gate.replace_keys({})
    assert (await stand.poll(mine, x_api_key=READ_KEY)).status_code == 401


CONFIG = TokenConfig("", (SECRET.encode(),))


@pytest.mark.parametrize("way", _BOTH)
async def test_nobody_reads_too_much(way: Way) -> None:
    """As it is."""
    async with fake_stand(way, tokens=CONFIG) as stand:
        await look_around(stand)


@pytest.mark.parametrize(("name", "way"), [(name, way) for name, (ways, _) in PLANTS.items() for way in ways], ids=str)
async def test_a_gate_that_is_taken_out_is_missed(name: str, way: Way) -> None:
    """By whichever way its request came in."""
    with planted(PLANTS[name][1]):
        async with fake_stand(way, tokens=CONFIG) as stand:
            with pytest.raises(AssertionError):
                await look_around(stand)
