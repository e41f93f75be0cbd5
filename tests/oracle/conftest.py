"""The seed and the length of a run, from the command line."""

import secrets

import pytest


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The seed: `--seed N`, else a new one."""
    given = request.config.getoption("--seed")
    return secrets.randbelow(1_000_000) if given is None else int(given)


@pytest.fixture
def seconds(request: pytest.FixtureRequest) -> float:
    """How long faults strike."""
    return float(request.config.getoption("--seconds"))
