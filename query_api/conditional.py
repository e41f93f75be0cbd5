"""If-None-Match, as RFC 9110 section 13.1.2 says: lists, `*`, weak comparison."""

from __future__ import annotations

import re

_TAG = re.compile(rb'(?:W/)?("[^"]*")')


def matches(if_none_match: bytes, etag: bytes) -> bool:
    """Tell whether a client already holds the answer with this (strong) ETag."""
    if if_none_match == etag:
        return True
    if if_none_match.strip() == b"*":
        return True
    return etag in _TAG.findall(if_none_match)
