"""Fixtures of the client's unit tests."""

import pytest

from tests.clients.answering import Answering


@pytest.fixture
def api() -> Answering:
    """A session without events."""
    return Answering()
