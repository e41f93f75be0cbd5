"""The sample of mutants and its score."""

import pytest

from tests.mutants.score import Score, sample, score, statuses

RESULTS = """    projector.core.hot.x_room__mutmut_1: killed
    projector.core.hot.xǁHotǁ__call____mutmut_12: no tests
    readmodel.values.poll.x_parse__mutmut_3: survived
    readmodel.values.poll.x_parse__mutmut_4: caught by type check
"""
NAMES = [f"readmodel.values.poll.x_parse__mutmut_{number}" for number in range(1000)]


def test_what_mutmut_prints_is_read() -> None:
    """Each mutant with what became of it."""
    assert statuses("Some words: first\n" + RESULTS) == {
        "projector.core.hot.x_room__mutmut_1": "killed",
        "projector.core.hot.xǁHotǁ__call____mutmut_12": "no tests",
        "readmodel.values.poll.x_parse__mutmut_3": "survived",
        "readmodel.values.poll.x_parse__mutmut_4": "caught by type check",
    }


def test_a_seed_chooses_the_same_mutants() -> None:
    """In whatever order their names come, so that a run can be made again."""
    assert sample(NAMES, 100, 7) == sample(list(reversed(NAMES)), 100, 7)


def test_another_seed_chooses_others() -> None:
    """The sample is random."""
    assert sample(NAMES, 100, 7) != sample(NAMES, 100, 8)


def test_no_mutant_is_tried_twice() -> None:
    """As many are tried as were asked for."""
    assert len(set(sample(NAMES, 100, 1))) == 100


def test_a_small_module_is_tried_whole() -> None:
    """Where there are fewer mutants than were asked for."""
    assert sample(NAMES[:3], 100, 1) == NAMES[:3]


@pytest.mark.parametrize("status", ["killed", "timeout", "segfault"])
def test_a_failing_test_notices(status: str) -> None:
    """So does one that hangs or crashes."""
    assert score(["a"], {"a": status}) == Score(1, ())


@pytest.mark.parametrize("status", ["survived", "no tests", "suspicious", "skipped", "not checked"])
def test_a_mutant_that_no_test_failed_on_is_alive(status: str) -> None:
    """Nothing else counts as noticed: not what no test runs, nor what was not tried in the end."""
    assert score(["a"], {"a": status}) == Score(1, ("a",))


def test_a_mutant_without_a_result_is_alive() -> None:
    """Half a run is no good one."""
    assert score(["a", "b"], {"a": "killed"}) == Score(2, ("b",))


@pytest.mark.parametrize(("alive", "enough"), [(20, True), (21, False)])
def test_eight_in_ten_are_enough(alive: int, enough: bool) -> None:
    """And not one fewer."""
    assert Score(100, tuple(NAMES[:alive])).enough is enough


def test_the_score_is_a_sentence() -> None:
    """With the figures, and what is wanted."""
    assert Score(40, tuple(NAMES[:10])).text() == ("30 of 40 mutants were noticed (75%); 80% are wanted: too few.")
