"""Finished answers: what stands in their bodies and heads."""

import orjson

from query_api.answers import missing

SID = "11111111-1111-4111-8111-111111111111"


def test_a_session_that_is_missing() -> None:
    """Status, body and length agree; a browser keeps it to itself."""
    answer = missing(SID)
    headers = dict(answer.fields.pairs)

    assert answer.status == orjson.loads(answer.body)["status"] == 404
    assert SID in orjson.loads(answer.body)["detail"]
    assert headers[b"content-length"] == b"%d" % len(answer.body)
    assert headers[b"cache-control"] == b"private, no-cache"
