"""A session's header, read field by field."""

from readmodel.values.event import ENCODING_VERSION
from readmodel.view.header import Header, read_header

SID = "11111111-aaaa-4aaa-8aaa-000000000001"


def test_each_field_has_its_place() -> None:
    """None stands for another."""
    fields = [
        b"term",
        ENCODING_VERSION.encode(),
        b"paused",
        *(b"%d" % n for n in range(4, 8)),
        b"80",
        b"9",
        b"10",
        b"11",
    ]
    header = read_header(SID, fields, 7, b"7")

    assert header == Header(SID, "term", ENCODING_VERSION, "paused", 4, 5, 6, 7, 80, 9, 10, complete=False)
    assert header.polled_ms == 11
