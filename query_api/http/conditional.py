"""If-None-Match, as RFC 9110 section 13.1.2 says: lists, `*`, weak comparison."""

from __future__ import annotations

import re

_TAG = re.compile(rb'(?:W/)?("[^"]*")')


def matches(if_none_match: bytes, etag: bytes, other_etag: bytes = b"") -> bool:
    """Tell whether a client already holds the answer with this (strong) ETag, or this other one."""
    if if_none_match == etag or (other_etag and if_none_match == other_etag):
        return True
    if if_none_match.strip() == b"*":
        return True
    held = _TAG.findall(if_none_match)
    return etag in held or other_etag in held
