"""Finished answers: what stands in their bodies and heads."""

import orjson

from query_api.answers import GZIP_ABOVE_BYTES, GZIP_OVERHEAD_BYTES, found, missing

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

    assert (answer.gzip, answer.gzip_bytes) == (None, 0)
    assert b"vary" not in dict(answer.fields.pairs) | dict(answer.unmodified.pairs)


def test_a_longer_answer_has_two_forms() -> None:
    """Each with its own strong tag, and all that the other's head says but for length and coding."""
    answer = found(SID, b"x" * (GZIP_ABOVE_BYTES + 1), terminal=False)
    assert answer.gzip
    assert (answer.gzip.body, answer.gzip_bytes) == (b"", GZIP_OVERHEAD_BYTES)
    answer.take_gzip(b"z" * 7)
    plain, compressed = dict(answer.fields.pairs), dict(answer.gzip.fields.pairs)

    assert answer.gzip.etag == answer.etag[:-1] + b'-gzip"'
    assert compressed == {
        **plain, b"etag": answer.gzip.etag, b"content-length": b"7", b"content-encoding": b"gzip"
    }  # fmt: skip
    assert plain[b"vary"] == b"Accept-Encoding"
    for form in (answer, answer.gzip):
        assert dict(form.unmodified.pairs) == {
            b"etag": form.etag, b"cache-control": b"private, no-cache", b"vary": b"Accept-Encoding"
        }  # fmt: skip
    assert answer.gzip_bytes == 7 + 2 * GZIP_OVERHEAD_BYTES


def test_a_compressed_form_is_smaller_or_none() -> None:
    """By a byte at least."""
    answer = found(SID, b"x" * 2_000, terminal=False)
    answer.take_gzip(b"z" * 2_000)
    assert answer.gzip is None

    answer = found(SID, b"x" * 2_000, terminal=False)
    answer.take_gzip(b"z" * 1_999)
    assert answer.gzip
