"""What a client got, read strictly: answer after answer, and not a byte that belongs to none."""

import re
from collections import Counter
from typing import NamedTuple

import orjson

LISTS = {b"vary"}
"""Fields that may come more often than once."""
_HEAD = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n((?:[^\r\n]+\r\n)*)\r\n")
_OWN_NAME = re.compile(r"[0-9a-f]{12}-[0-9a-f]+")


class Answer(NamedTuple):
    """One answer; field names are in lower case."""

    status: int
    fields: dict[str, str]
    body: bytes

    @property
    def told(self) -> str:
        """Whose answer it is, by the id that the request gave itself (`?`: it gave none), and its status."""
        name = self.fields.get("x-request-id", "-")
        return f"{'?' if _OWN_NAME.fullmatch(name) else name} {self.status}"

    @property
    def is_bodiless(self) -> bool:
        """Whether it has no body, whatever its length says; requests that are named `head…` ask for none."""
        return self.status < 200 or self.status in {204, 304} or self.told.startswith("head")

    @property
    def is_problem_at_the_end(self) -> bool:
        """Whether it is the whole of a problem, and says that nothing follows."""
        return (
            self.fields["content-type"] == "application/problem+json"
            and self.fields["connection"] == "close"
            and self.fields["x-request-id"] != ""
            and (self.is_bodiless or orjson.loads(self.body)["status"] == self.status)
        )


def answers(received: bytes) -> list[Answer]:
    """Read all answers."""
    found: list[Answer] = []
    place = 0
    while place < len(received):
        head = _HEAD.match(received, place)
        assert head, f"no answer begins here: {received[place : place + 200]!r}"
        lines = [line.split(b": ", 1) for line in head[2].split(b"\r\n")[:-1]]
        fields = {name.decode().lower(): value.decode("latin-1") for name, value in lines}
        twice = {name.lower() for name, count in Counter(name for name, _ in lines).items() if count > 1}
        assert twice <= LISTS, f"fields that come twice: {head[2]!r}"
        answer = Answer(int(head[1]), fields, b"")
        place = head.end() + (0 if answer.is_bodiless else int(fields["content-length"]))
        assert place <= len(received), f"an answer that is cut short: {received[head.start() :][:200]!r}"
        found.append(answer._replace(body=received[head.end() : place]))
    return found
