"""Fixtures of the tests over real servers."""

import pytest

from tests.healing import Record


@pytest.fixture
def record(request: pytest.FixtureRequest, record_testsuite_property: Record) -> Record:
    """Keep how long healing took, for who asks with --junitxml."""
    return lambda name, seconds: record_testsuite_property(f"{request.node.name}.{name}", seconds)
