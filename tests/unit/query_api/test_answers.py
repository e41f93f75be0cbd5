"""Finished answers: what stands in their bodies and heads."""

import orjson

from query_api.memory.answers import GZIP_ABOVE_BYTES, found, missing

SID = "11111111-1111-4111-8111-111111111111"


def test_a_session_that_is_missing() -> None:
    """Status, body and length agree; a browser keeps it to itself."""
    answer = missing(SID)
    headers = dict(answer.fields.pairs)

    assert answer.status == orjson.loads(answer.body)["status"] == 404
    assert SID in orjson.loads(answer.body)["detail"]
    assert headers[b"content-length"] == b"%d" % len(answer.body)
    assert headers[b"cache-control"] == b"private, no-cache"


def test_a_short_answer_has_one_form() -> None:
    """Compressed it would not arrive sooner; nothing varies."""
    answer = found(SID, b"x" * GZIP_ABOVE_BYTES, terminal=False)

    assert answer.gzip is None
    assert b"vary" not in dict(answer.fields.pairs) | dict(answer.unmodified.pairs)


def test_a_longer_answer_has_two_tags() -> None:
    """Both strong, and both say that there is another form."""
    answer = found(SID, b"x" * (GZIP_ABOVE_BYTES + 1), terminal=False)
    assert answer.gzip

    assert answer.gzip.etag == answer.etag[:-1] + b'-gzip"'
    assert dict(answer.fields.pairs)[b"vary"] == b"Accept-Encoding"
    for form in (answer, answer.gzip):
        assert dict(form.unmodified.pairs) == {
            b"etag": form.etag, b"cache-control": b"private, no-cache", b"vary": b"Accept-Encoding"
        }  # fmt: skip
