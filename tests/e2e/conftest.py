"""What the tests of whole processes share."""

from collections.abc import Iterator

import pytest

from tests.support.servers import running_redis


@pytest.fixture(scope="module")
def redis_of_module() -> Iterator[str]:
    """A Redis for this module alone: other fixtures empty the common one."""
    with running_redis() as server:
        yield server.url()
