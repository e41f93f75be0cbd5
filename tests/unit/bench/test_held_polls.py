"""The row of held polls: what its crowd takes for answers, and what it makes of delays."""

import socket

import pytest

from bench.held_crowd import _Dashboard
from bench.rows.held_polls import POINTS, CrowdFigures, _line, rows

HEAD = b"GET /?limit=10%b HTTP/1.1\r\n"


@pytest.fixture
def dashboard() -> _Dashboard:
    """One that is connected to nobody."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        made = _Dashboard(server.getsockname()[1], HEAD, is_watched=True)
        made.socket.close()
    return made


def test_an_answer_is_whole_when_its_body_is(dashboard: _Dashboard) -> None:
    """In however many parts it comes; the next poll sends its ETag and waits."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        dashboard.socket = ours
        statuses = []
        for part in (b'HTTP/1.1 200 OK\r\nETag: "a"\r\nContent-', b"Length: 4\r\n\r\nab", b"cd"):
            theirs.sendall(part)
            statuses.append(dashboard.take())
        dashboard.ask(b"&wait=60")
        theirs.sendall(b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nContent-Length: 4\r\n\r\n')

        assert (statuses, dashboard.etag) == ([0, 0, 200], b'"a"')
        assert theirs.recv(1_000) == b'GET /?limit=10&wait=60 HTTP/1.1\r\nIf-None-Match: "a"\r\n\r\n'
        assert dashboard.take() == 304
        theirs.close()
        with pytest.raises(ConnectionError):
            dashboard.take()


def test_each_row_stands_beside_polls_every_second() -> None:
    """Medians and tails of the last dashboard and of each one."""
    held = CrowdFigures(4.0, 1.0, 2.0, 3.0, [1.0, 2.0], [2.0])
    polled = CrowdFigures(5.0, 1.0, 20.0, 30.0, [500.0, 900.0], [900.0])

    found = rows(held, polled)

    assert [row.ratio for row in found[:4]] == [0.8, 0.1, 0.1, pytest.approx(2 / 900)]
    assert all(row.peer == "as many that poll every second" for row in found)


def test_a_line_has_few_points_and_both_ends() -> None:
    """However many delays there are."""
    line = _line([float(n) for n in range(10_000)])

    assert len(line) == POINTS + 1
    assert (line[0][0], line[-1]) == (0.1, (9_999.0, 100.0))
