"""What the console shows of any event is what Postgres holds, in its order: the modules beside a real Postgres."""

import json
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from playwright.async_api import Browser, Page

from readside.demo.embedded_postgres import EmbeddedPostgres
from tests.browser.browsing import modules
from tests.browser.json_tokens import tokens
from tests.support.servers import connected, fresh_database

pytestmark = pytest.mark.asyncio(loop_scope="session")

CASES = Path(__file__).with_name("exact_cases.js")
EVENT_JSON = files("readmodel.postgres.sql").joinpath("event_json.sql").read_text()
_EVENTS = f"""
SELECT {EVENT_JSON} AS event, e.id::text, e.event_data::text AS held,
       CASE WHEN isfinite(e.timestamp)
            THEN ((e.timestamp::date - date '1970-01-01') * 86400000000::numeric
                  + extract(microseconds FROM e.timestamp - date_trunc('day', e.timestamp))::numeric
                  + 60000000 * extract(minute FROM e.timestamp)::numeric
                  + 3600000000 * extract(hour FROM e.timestamp)::numeric)::text
            ELSE replace(e.timestamp::text, 'infinity', 'Infinity') END AS since_1970
FROM (SELECT id, id AS session_id, NULL::uuid AS step_id, 'event_data' AS event_type, data::jsonb AS event_data,
             'event_data' AS message, timestamp::timestamptz AS timestamp
      FROM unnest($1::uuid[], $2::text[], $3::text[]) AS given(id, data, timestamp)) e
ORDER BY e.timestamp DESC, e.id DESC
"""
DRAWN = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@dataclass
class Stage:
    """The console's modules in a browser, and a Postgres."""

    page: Page
    postgres: "asyncpg.Connection[asyncpg.Record]"

    async def held(self, payloads: Sequence[str], timestamps: Sequence[str] = ()) -> list[Any]:
        """Events as Postgres holds them, in its order, with what the API would send of each."""
        ids = [UUID(int=(7 * number) % 97) for number in range(len(payloads))]  # in no order, some of equal timestamps
        at = timestamps or ["2026-01-13 14:30:00+00"] * len(payloads)
        found: list[Any] = await self.postgres.fetch(_EVENTS, ids, payloads, at)
        return found

    async def asks(self, function: str, *given: object) -> Any:
        """What the modules say."""
        call = f"async (given) => (await import('/exact_cases.js')).{function}(...given)"
        return await self.page.evaluate(call, list(given))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stage(browser: Browser, postgres_server: EmbeddedPostgres) -> AsyncIterator[Stage]:
    """Both, for the whole module."""
    await postgres_server.start()  # a test may have stopped it
    async with (
        modules(browser, CASES) as opened,
        fresh_database(postgres_server) as url,
        connected(url) as connection,
    ):
        await connection.execute("SET TimeZone = 'UTC'")
        yield Stage(opened.page, connection)


def answer(found: Sequence[Any]) -> str:
    """What a poll would get."""
    return f'{{"items":[{",".join(event["event"] for event in found)}],"total":{len(found)},"pagination":{{}}}}'


_DIGITS = "0123456789"
_SIGNS = st.sampled_from(["", "-"])
_FRACTIONS = st.just("") | st.text(_DIGITS, min_size=1, max_size=30).map(lambda digits: f".{digits}")
_EXPONENTS = st.just("") | st.builds(
    lambda letter, digits: letter + digits,
    st.sampled_from(["e", "E", "e+", "E+", "e-", "E-"]),
    st.text(_DIGITS, min_size=1, max_size=3),
)
# Few choices each: Hypothesis makes one for each character of a regular expression.
NUMBERS = st.builds(
    lambda sign, whole, fraction, exponent: f"{sign}{whole}{fraction}{exponent}",
    _SIGNS,
    st.integers(0, 10**31 - 1),
    _FRACTIONS,
    _EXPONENTS,
) | st.sampled_from(
    ["-0", "-0.0", "1.10", "1.0", "100.00", "1e400", "1E-400", "750727362669608961", "9" * 400, f"0.{'1' * 400}"]
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40) | st.sampled_from(
    [
        "__proto__",
        "constructor",
        "event_data",
        "items",
        "\u2028",
        "\u202e123",
        '"',
        "\\",
        '\\"',
        "]}",
        "\x01\x7f\x85",
        "😀👩\u200d🚀",
    ]
)
STRINGS = st.builds(lambda text, escaped: json.dumps(text, ensure_ascii=escaped), TEXTS, st.booleans())


def _object(members: list[tuple[str, str]]) -> str:
    return f"{{{', '.join(f'{name}: {value}' for name, value in members)}}}"


def _nested(value: str, levels: int) -> str:
    return '[{"in": ' * levels + value + "}]" * levels


PAYLOADS = st.builds(
    _nested,
    st.recursive(
        NUMBERS | STRINGS | st.sampled_from(["true", "false", "null"]),
        lambda inner: (
            st.lists(inner, max_size=6).map(lambda items: f"[{', '.join(items)}]")
            | st.lists(st.tuples(STRINGS, inner), max_size=6).map(_object)
        ),
        max_leaves=25,
    ),
    st.sampled_from([0, 0, 0, 1, 7, 8, 9, 40]) | st.integers(0, 900),
)


@DRAWN
@given(payloads=st.lists(PAYLOADS, min_size=1, max_size=6), part=st.integers(1, 20_000))
@example(payloads=['{"n":1.10,"z":1.0,"t":100.00}'], part=1_000)
@example(payloads=["1", f"{'[' * 6000}750727362669608961{']' * 6000}", "{}"], part=32_768)
@example(payloads=["-0", "1e400", "9" * 400, '"\\u2028\\u202e"', '{"__proto__": {"__proto__": []}}'], part=3)
async def test_every_payload_is_shown_as_postgres_holds_it(stage: Stage, payloads: list[str], part: int) -> None:
    """Digit for digit, however deep, whatever it is cut into."""
    found = await stage.held(payloads)
    shown = await stage.asks("laidOut", answer(found), part)

    assert [text for text, _ in shown] == [event["held"] for event in found]
    assert [tokens(lines) for _, lines in shown] == [tokens(event["held"]) for event in found]


@DRAWN
@given(payloads=st.lists(PAYLOADS.filter(lambda text: len(text) < 5_000), min_size=1, max_size=6))
async def test_what_scripts_get_is_what_json_parse_gives(stage: Stage, payloads: list[str]) -> None:
    """Beside the text, for whoever does with rounded numbers."""
    assert await stage.asks("parsesAlike", answer(await stage.held(payloads)))


async def test_only_the_data_of_events_is_kept_as_text(stage: Stage) -> None:
    """What has its name elsewhere is what it is."""
    given = '{"event_data":[1],"items":[{"in":{"event_data":[3]},"event_data" : [4]}],"total":1}'

    assert await stage.asks("parsesAlike", given)


@DRAWN
@given(text=TEXTS)
@example(text="\u202e321\u2066\u200b\ufeff\u00ad\x7f\x9f\u2029\U000e0041")
async def test_nothing_shown_is_hidden_or_turns_what_follows(stage: Stage, text: str) -> None:
    """A turned line would show other digits than there are: such characters are shown as JSON's escapes."""
    ((_, lines),) = await stage.asks("laidOut", answer(await stage.held([json.dumps([text, 123])])), 100)

    assert not re.search("[\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]", lines)
    assert json.loads(lines) == [text, 123]


@pytest.mark.parametrize(
    "payload", [r'"\ud800"', r'"\udc00\ud800"', r'"\u0000"', '"\\\\"', " [ 1 , 2.50 ] ", '{"a":1,"a":2.0}', "\t-0\n"]
)
async def test_text_that_jsonb_would_not_keep_is_shown_as_it_came(stage: Stage, payload: str) -> None:
    """Escaped lone surrogates, NUL, a name twice, space: nothing is read out of it or left away."""
    ((text, lines),) = await stage.asks("laidOut", f'{{"items":[{{"event_data":{payload}}}],"total":1}}', 10)

    assert text == payload.strip()
    assert tokens(lines) == tokens(payload)


DAYS = (-2_440_588, 106_751_990)
"""From the first day that Postgres knows, 24 November 4714 BC, to 31 December 294276 AD, since 1970."""
DAY_US = 86_400_000_000
SPECIAL = (
    *("-infinity", "infinity", "0044-03-15 12:00:00+00 BC", "15000-01-01 00:00:00+00", "4714-11-24 00:00:00+00 BC"),
    *("294276-12-31 23:59:59.999999+00", "0001-12-31 23:59:59.999999+00 BC", "0001-01-01 00:00:00+00"),
    *("9999-12-31 23:59:59.999999+00", "10000-01-01 00:00:00+00", "1900-01-01 00:00:00+00", "2200-01-01 00:00:00+00"),
    *(
        "1969-12-31 23:59:59.999999+00",
        "1970-01-01 00:00:00+00",
        "2000-02-29 00:00:00.1+00",
        "2026-01-13 14:30:00.12+00",
    ),
)
_PRINTED = "SELECT (timestamptz 'epoch' + $1::int * interval '1 day' + $2::bigint * interval '1 microsecond')::text"
INSTANTS = st.sampled_from(SPECIAL) | st.tuples(
    st.integers(*DAYS) | st.integers(20_000, 20_002), st.integers(0, 3) | st.integers(0, DAY_US - 1)
)


async def _texts(stage: Stage, instants: list[Any]) -> list[str]:
    return [at if isinstance(at, str) else await stage.postgres.fetchval(_PRINTED, *at) for at in instants]


@DRAWN
@given(instants=st.lists(INSTANTS, min_size=1, max_size=30))
@example(instants=list(SPECIAL))
async def test_events_stand_in_postgres_order(stage: Stage, instants: list[Any]) -> None:
    """Over its whole range, to the microsecond; equal ones by their ids."""
    found = await stage.held(["1"] * len(instants), await _texts(stage, instants))
    shuffled = sorted(found, key=lambda event: str(event["id"]))
    printed = [json.loads(event["event"])["timestamp"] for event in found]

    assert await stage.asks("ordered", answer(shuffled)) == [event["id"] for event in found]
    assert await stage.asks("since1970", printed) == [event["since_1970"] for event in found]


@DRAWN
@given(instants=st.lists(INSTANTS, min_size=1, max_size=30), unloaded=st.integers(0, 5))
@example(instants=list(SPECIAL), unloaded=0)
async def test_the_strip_draws_every_instant(stage: Stage, instants: list[Any], unloaded: int) -> None:
    """Each event within its bounds, and in words how many there are."""
    found = await stage.held(["1"] * len(instants), await _texts(stage, instants))
    strip = await stage.asks("strip", answer(found), len(found) + unloaded)

    assert strip["bars"]
    assert all(0 <= place < 600 for place in strip["bars"] + strip["unloaded"])
    assert 1 <= strip["stations"] <= len(found)  # of two at one place the first is marked
    assert not re.search("NaN|Infinity|undefined|null", " ".join([*strip["drawn"], strip["text"]]))
    assert f"{len(found)} loaded." in strip["text"]


@pytest.mark.parametrize(
    ("locale", "zone"),
    [("ar-EG", "Pacific/Apia"), ("fa-IR", "America/St_Johns"), ("th-TH-u-ca-buddhist", "Asia/Kathmandu")],
)
async def test_neither_locale_nor_time_zone_changes_what_is_shown(
    browser: Browser, stage: Stage, locale: str, zone: str
) -> None:
    """Other digits, another calendar, half hours: texts and order are Postgres', and words are English."""
    found = await stage.held(["1.10"] * len(SPECIAL), list(SPECIAL))
    shuffled = sorted(found, key=lambda event: str(event["id"]))
    async with modules(browser, CASES, locale=locale, zone=zone) as opened:
        elsewhere = Stage(opened.page, stage.postgres)
        shown = await elsewhere.asks("laidOut", answer(found), 100)
        strip = await elsewhere.asks("strip", answer(found), len(found))

        assert await elsewhere.asks("ordered", answer(shuffled)) == [event["id"] for event in found]
        assert [lines for _, lines in shown] == ["1.10"] * len(SPECIAL)
        assert strip["text"].isascii()
        assert strip["bars"] == (await stage.asks("strip", answer(found), len(found)))["bars"]


async def test_instants_far_away_stand_at_the_ends_of_the_strip(stage: Stage) -> None:
    """And leave its length to the others; the words say what they are."""
    near = [f"2026-01-13 14:{minute}:00+00" for minute in range(10, 60)]
    far = ["-infinity", "0044-03-15 12:00:00+00 BC", "15000-01-01 00:00:00+00", "infinity"]
    found = await stage.held(["1"] * 54, [*near, *far])
    strip = await stage.asks("strip", answer(found), 54)

    assert (strip["bars"][0], strip["bars"][1], strip["bars"][-1]) == (0, 12, 594)
    assert len(strip["bars"]) > 40
    assert strip["text"] == (
        "From 13 Jan 2026, 14:10:00 for 49 min 0 s: 54 events, 54 loaded. "
        "2 dated before 1900 stand at the left end, the farthest -infinity. "
        "2 dated after 2199 stand at the right end, the farthest infinity."
    )


async def test_a_life_of_far_away_instants_alone(stage: Stage) -> None:
    """There is no scale then, and none is told of."""
    strip = await stage.asks("strip", answer(await stage.held(["1"], ["-infinity"])), 1)

    assert strip["bars"] == [0]
    assert strip["text"] == "1 event, 1 loaded. 1 dated before 1900 stands at the left end, -infinity."
