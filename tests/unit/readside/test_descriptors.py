"""The limit of open files: raised where it may be, and what it leaves for clients."""

import resource
import sys
from dataclasses import dataclass, replace

import pytest
from structlog.testing import capture_logs

from readside.descriptors import OF_STANDBY, OWN_DESCRIPTORS, own_descriptors, places, raise_limit, within_limit
from tests.support.builders import API, socket_bounds

CONFIG = API
OWN = OWN_DESCRIPTORS + CONFIG.fallback_concurrency


@dataclass
class Limit:
    """A process' limit of open files; `refusal` is what the system answers to who wants to change it."""

    soft: int
    hard: int
    refusal: Exception | None = None

    def get(self, _: int) -> tuple[int, int]:
        """Both."""
        return self.soft, self.hard

    def set(self, _: int, limits: tuple[int, int]) -> None:
        """Change both."""
        if self.refusal:
            raise self.refusal
        self.soft, self.hard = limits

    def hold(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Be the limit of this process."""
        monkeypatch.setattr(resource, "getrlimit", self.get)
        monkeypatch.setattr(resource, "setrlimit", self.set)


def test_the_soft_limit_becomes_the_hard_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """And is what counts."""
    limit = Limit(1024, 524_288)
    limit.hold(monkeypatch)

    assert raise_limit() == 524_288
    assert (limit.soft, limit.hard) == (524_288, 524_288)


@pytest.mark.parametrize("refusal", [ValueError("not allowed"), PermissionError(1, "no right")])
def test_a_limit_that_cannot_be_raised_stays(monkeypatch: pytest.MonkeyPatch, refusal: Exception) -> None:
    """That is no reason not to start."""
    Limit(1024, 524_288, refusal).hold(monkeypatch)

    assert raise_limit() == 1024


def test_standbys_take_as_many_again() -> None:
    """Each is asked as many queries at a time as the primary."""
    assert own_descriptors(8, 0) == OWN
    assert own_descriptors(8, 2) == OWN + 2 * (8 + OF_STANDBY)


def test_no_limit_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves every place that is wanted."""
    Limit(1024, resource.RLIM_INFINITY).hold(monkeypatch)

    assert raise_limit() == sys.maxsize
    assert within_limit(CONFIG) == CONFIG


@pytest.mark.parametrize(
    ("wanted", "limit", "own", "left"),
    [
        (10_000, 524_288, 200, 10_000),
        (10_000, 10_200, 200, 10_000),
        (10_000, 10_199, 200, 9_999),
        (10_000, 1_024, 200, 824),
        (10_000, 400, 200, 200),
        (10_000, 300, 200, 150),
        (10_000, 64, 200, 32),
        (10_000, 1, 200, 1),
        (5, 64, 200, 5),
    ],
)
def test_what_a_limit_leaves(wanted: int, limit: int, own: int, left: int) -> None:
    """No more than is wanted, all that is not ours, half where that is hardly anything; never nothing."""
    assert places(wanted, limit, own) == left


def test_a_limit_that_is_high_enough_is_no_news(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound is the setting's."""
    Limit(1024, 10_000 + OWN).hold(monkeypatch)
    with capture_logs() as lines:
        config = within_limit(CONFIG)

    assert (config, lines) == (CONFIG, [])


def test_a_limit_that_is_too_low_is_one_line_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The config is bound by it, and nothing else of it changes; the number that is named is enough."""
    Limit(512, 1024).hold(monkeypatch)
    with capture_logs() as lines:
        config = within_limit(CONFIG)

    left = 1024 - OWN
    assert config == replace(CONFIG, sockets=socket_bounds(max_connections=left))
    assert len(lines) == 1
    assert lines[0]["log_level"] == "warning"
    assert f"`ulimit -n {10_000 + OWN}`; LimitNOFILE={10_000 + OWN} in" in lines[0]["event"]
    assert (lines[0]["connections"], lines[0]["max_connections"], lines[0]["open_files"]) == (left, 10_000, 1024)
    assert places(10_000, 10_000 + OWN, OWN) == 10_000
