"""Thousands of dashboards over raw connections. Run as `HELD_CROWD PORT KEY MANNER SESSIONS_FILE WATCHED OTHERS`.

MANNER is `wait` (each poll is held until there is news) or the seconds between two polls. WATCHED dashboards show the
first session of the file, OTHERS the rest. Answers each line on its standard input by one of JSON, and ends with it.

A process of its own: what the dashboards cost is then not taken for what they cost the server. It imports nothing of
ours.
"""

from __future__ import annotations

import json
import random
import resource
import select
import socket
import sys
import time
from collections import Counter
from pathlib import Path

LOOPBACK = "127.0.0.1"
CHUNK = 65_536
TURN = 64
"""Answers taken between two looks at the clock, and connections opened between two looks at the answers."""
WAIT_SECONDS = 60
TICK_SECONDS = 0.002


class _Dashboard:
    """One connection, that polls one session with the last ETag that it has seen."""

    __slots__ = ("_head", "_parts", "_wanted", "etag", "is_watched", "socket", "waits")

    def __init__(self, port: int, head: bytes, *, is_watched: bool) -> None:
        self.socket = socket.create_connection((LOOPBACK, port))
        self.socket.setblocking(False)
        self._head = head
        self.is_watched = is_watched
        self.etag = b""
        self.waits = False
        """For an answer."""
        self._parts = b""
        self._wanted = 0

    def ask(self, query: bytes) -> None:
        """Send the next poll; the first one waits for nothing."""
        known = b"If-None-Match: %b\r\n" % self.etag if self.etag else b""
        request = self._head % (query if self.etag else b"") + known + b"\r\n"
        if self.socket.send(request) != len(request):
            raise ConnectionError("A request did not fit into an empty socket.")
        self.waits = True

    def take(self) -> int:
        """Take what has come; gives the status where the answer is whole, else 0."""
        taken = self.socket.recv(CHUNK)
        if not taken:
            raise ConnectionError("The server closed a connection.")
        data = self._parts = self._parts + taken
        if not self._wanted:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                return 0
            self._wanted = end + 4 + self._read(data[: end + 2])
        if len(data) < self._wanted:
            return 0
        self._parts, self._wanted, self.waits = b"", 0, False
        return int(data[9:12])

    def _read(self, head: bytes) -> int:
        """Keep the ETag of an answer; gives the length of its body."""
        if head.startswith(b"HTTP/1.1 304"):
            return 0
        fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:-1])
        named = {name.lower(): value for name, value in fields.items()}
        self.etag = named.get(b"etag", b"")
        return int(named.get(b"content-length", b"0"))


class _Dashboards:
    """All of them. `period` None: their polls are held."""

    def __init__(self, port: int, period: float | None) -> None:
        self._port = port
        self._period = period
        self._query = b"&wait=%d" % WAIT_SECONDS if period is None else b""
        self._epoll = select.epoll()
        self._epoll.register(sys.stdin.fileno(), select.EPOLLIN)
        self._all: dict[int, _Dashboard] = {}
        self._turns: list[_Dashboard] = []
        self._turn, self._began = 0, 0.0
        self._statuses: Counter[int] = Counter()
        self._seen: list[float] = []

    def join(self, head: bytes, *, is_watched: bool) -> None:
        """Open one more."""
        dashboard = _Dashboard(self._port, head, is_watched=is_watched)
        self._all[dashboard.socket.fileno()] = dashboard
        self._epoll.register(dashboard.socket.fileno(), select.EPOLLIN)
        dashboard.ask(self._query)
        if len(self._all) % TURN == 0:
            self._take(0)

    def run(self) -> None:
        """Poll until the input ends. Those of one session come at any time of a period, as dashboards do."""
        self._turns, self._began = list(self._all.values()), time.monotonic()
        random.shuffle(self._turns)
        while True:
            if self._period is not None:
                self._poll(self._period)
            if not self._take(-1 if self._period is None else TICK_SECONDS):
                return

    def _poll(self, period: float) -> None:
        """Have those poll whose turn it is: one after the other, spread over a period. Who waits lets it pass."""
        count = len(self._turns)
        due = int((time.monotonic() - self._began) * count / period)
        for turn in range(max(self._turn, due - count), due):
            dashboard = self._turns[turn % count]
            if not dashboard.waits:
                dashboard.ask(self._query)
        self._turn = due

    def _take(self, seconds: float) -> bool:
        """Take answers and commands; tells whether there is more to come."""
        ready = self._epoll.poll(seconds, TURN)
        now = time.monotonic()
        for number, _ in ready:
            if number == sys.stdin.fileno():
                if not sys.stdin.readline():
                    return False
                self._tell()
                continue
            dashboard = self._all[number]
            is_first = not dashboard.etag
            status = dashboard.take()
            if not status:
                continue
            self._statuses[status] += 1
            if status == 200 and dashboard.is_watched and not is_first:
                self._seen.append(now)
            if self._period is None:
                dashboard.ask(self._query)
        return True

    def _tell(self) -> None:
        """Tell what came since the last time; instants are of the machine's monotonic clock."""
        sys.stdout.write(json.dumps({"statuses": self._statuses, "seen": self._seen}) + "\n")
        sys.stdout.flush()
        self._statuses, self._seen = Counter(), []


def main() -> None:
    """Open them all, say so, and poll."""
    port, key, manner, file, watched, others = sys.argv[1:]
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    sessions = Path(file).read_text(encoding="utf-8").split()
    crowd = _Dashboards(int(port), None if manner == "wait" else float(manner))
    shown = [sessions[0]] * int(watched)
    shown += [sessions[1 + number % (len(sessions) - 1)] for number in range(int(others))]
    for session in shown:
        head = f"GET /api/v2/sessions/{session}/events?limit=10%b HTTP/1.1\r\nHost: bench\r\nX-API-Key: {key}\r\n"
        crowd.join(head.encode(), is_watched=session == sessions[0])
    sys.stdout.write("{}\n")
    sys.stdout.flush()
    crowd.run()


if __name__ == "__main__":
    main()
