"""Hot polls beside the peers: turns, what must be alike, what is told of the generator, and what is promised."""

import gzip

import pytest

from bench import contest as contests
from bench.contest import BARE, GRANIAN, LUA, LUA_ON_TWO, MICRO_CACHE, POSTGRES_APP, Contestant, contest, same_head
from bench.load import COUNTER, THREADS, Round, script
from bench.polling_client import Response
from bench.rows import empty_poll, gzip_page, page
from bench.rows.hot_polls import rows
from bench.table import BenchError, Figure, Target

OURS = b"HTTP/1.1 200 OK\r\ndate: Mon\r\netag: 1\r\nx-request-id: a-1\r\ncontent-length: 2"
PLAIN = b'{"items":[]}'


def response(head: bytes = b"HTTP/1.1 200 OK", body: bytes = b"{}") -> Response:
    """Build a 200."""
    return Response(200, head, body)


def measured(name: str, polls_per_second: float = 1.0, *, missing: str = "") -> Contestant:
    """One that was polled for a round."""
    return Contestant(name, 1, ["/"], missing, rounds=[Round(polls_per_second, 1.0, 2.0, 0.5)])


async def test_every_other_round_goes_the_opposite_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """A B, B A: what else runs strikes both. The first round is not counted, and who is missing not asked."""
    asked: list[int] = []

    async def crowd(port: int, *_args: object, **_options: object) -> Round:
        asked.append(port)
        return Round(float(len(asked)), 1.0, 1.0)

    monkeypatch.setattr(contests, "crowd", crowd)
    first, second, absent = Contestant("a", 1, ["/"]), Contestant("b", 2, ["/"]), Contestant("c", 0, ["/"], "absent")

    await contest([first, second, absent], rounds=2)

    assert asked == [2, 1, 1, 2, 2, 1]
    assert [load.polls_per_second for load in first.rounds] == [3.0, 6.0]


def test_a_figure_tells_how_busy_the_generator_was() -> None:
    """Who sees it at a hundred percent knows that the server was not the limit."""
    assert measured("a", 10.0).figure().text() == "10 polls/s (p50 1.0 ms, p99 2.0 ms, wrk 50% busy)"


def test_threads_ask_for_different_numbers() -> None:
    """Each begins at a place of its own: polls alike at the same time would share a read, later ones be remembered."""
    text = script([f"/?since={COUNTER}"], "GET", 123)

    assert 'thread:set("n", threads * 500000 + 123)' in text
    assert THREADS * 500_000 <= 1_000_000


def test_a_bare_server_gives_the_same_fields() -> None:
    """Their values may differ where ours do; and `server`, which Granian adds, is nobody's of ours."""
    same_head(GRANIAN, response(b"HTTP/1.1 200 OK\r\nserver: g\r\n" + OURS.partition(b"\r\n")[2]), response(OURS))
    same_head(BARE, response(OURS.replace(b"a-1", b"b-2").replace(b"Mon", b"Tue")), response(OURS))


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(OURS.replace(b"etag: 1\r\n", b""), id="one less"),
        pytest.param(OURS + b"\r\ndate: Mon", id="one twice"),
        pytest.param(OURS.replace(b"etag: 1", b"etag: 2"), id="another value"),
    ],
)
def test_a_bare_server_with_another_head_is_no_peer(head: bytes) -> None:
    """It would be measured at less work than ours."""
    with pytest.raises(BenchError, match="another head"):
        same_head(BARE, response(head), response(OURS))


def test_an_empty_poll_keeps_what_is_promised() -> None:
    """Of one process, and of two beside nginx's two workers."""
    others = [measured(name) for name in (BARE, LUA, LUA_ON_TWO, MICRO_CACHE, POSTGRES_APP)]

    found = rows("x", measured("ours"), measured("two"), others, empty_poll.WANTED, empty_poll.OF_TWO)

    assert [(row.measure, row.peer, row.target) for row in found] == [
        ("x", BARE, Target(2)),
        ("x", LUA, Target(2)),
        ("x", LUA_ON_TWO, None),
        ("x", MICRO_CACHE, Target(1)),
        ("x", POSTGRES_APP, Target(20)),
        ("x, 2 processes", LUA_ON_TWO, Target(1.5)),
        ("x, 2 processes", "ours", None),
    ]


def test_a_page_keeps_what_is_promised() -> None:
    """Sent whole, beside the endpoint that sends it whole."""
    assert page.WANTED[POSTGRES_APP] == Target(40)


def test_a_peer_that_is_missing_is_named_with_its_target() -> None:
    """No silent gap in the table."""
    found = rows(
        "x", measured("ours"), measured("two"), [measured(LUA_ON_TWO, missing="not installed")], {}, Target(1.5)
    )

    assert found[1].cells()[2:] == (f"{LUA_ON_TWO}: not installed", "", "≥ 1.5 ×: not measured")


def test_what_comes_encoded_is_the_page() -> None:
    """Its bytes beside those of the page, and polls a second of either."""
    encoded = response(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip", gzip.compress(PLAIN))

    size, rate = gzip_page.rows(encoded, response(body=PLAIN), Figure([5.0], "polls/s"), Figure([10.0], "polls/s"))

    assert (size.figure.median, size.figure.note) == (len(encoded.body), "")
    assert (size.beside, rate.ratio) == (Figure([float(len(PLAIN))], "bytes"), 0.5)


def test_another_page_encoded_counts_for_nothing() -> None:
    """However small it is."""
    encoded = response(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip", gzip.compress(b"{}"))
    figure = Figure([1.0], "polls/s")

    with pytest.raises(BenchError, match="another one"):
        gzip_page.rows(encoded, response(body=PLAIN), figure, figure)


def test_what_comes_as_it_is_says_so() -> None:
    """A server that encodes nothing is not taken for one that does."""
    figure = Figure([1.0], "polls/s")

    found = gzip_page.rows(response(body=PLAIN), response(body=PLAIN), figure, figure)

    assert [row.figure.note for row in found] == ["not encoded", "not encoded"]
