"""Who may have committed without a letter: the counter and the holders of its mark."""

from projector.core.skips import PREPARED, Skips

OLD = PREPARED + "700"


def test_nothing_is_in_doubt_while_the_counter_stands_and_nobody_holds_it() -> None:
    """Then the holders are not even listed."""
    assert not Skips("5 true").in_doubt("5 true")


def test_a_counter_that_moved_is_in_doubt() -> None:
    """Somebody skipped a letter."""
    assert Skips("5 true").in_doubt("6 true")


def test_a_counter_that_was_used_for_the_first_time_has_moved() -> None:
    """Its value stays at one then; it tells by `is_called` alone."""
    assert Skips("1 false").in_doubt("1 true")


def test_holders_are_looked_at_each_beat() -> None:
    """However long they stay open."""
    assert Skips("5 true", {"3/7"}).in_doubt("5 true")


def test_a_counter_that_moved_asks_for_a_comparison() -> None:
    """Whoever counted may be gone already."""
    skips = Skips("5 true")

    assert skips.note("6 true", set())
    assert not skips.note("6 true", set())


def test_who_counted_and_is_under_way_asks_for_another_comparison_at_its_end() -> None:
    """Not before."""
    skips = Skips("5 true")

    assert skips.note("6 true", {"3/7"})
    assert not skips.note("6 true", {"3/7"})
    assert skips.note("6 true", set())
    assert not skips.in_doubt("6 true")


def test_each_holder_counts() -> None:
    """One that ends asks for a comparison while another goes on."""
    skips = Skips("5 true", {"3/7", "4/9"})

    assert skips.note("5 true", {"4/9"})
    assert skips.holders == {"4/9"}


def test_a_holder_is_followed_under_another_name() -> None:
    """The counter does not move where a server names a prepared transaction anew."""
    skips = Skips("5 true", {"3/7"})

    assert skips.note("5 true", {"-1/812", PREPARED + "812"})
    assert not skips.note("5 true", {"-1/812", PREPARED + "812"})
    assert skips.note("5 true", set())


def test_what_was_prepared_when_the_term_began_is_waited_for() -> None:
    """A crash keeps it, and loses its letters."""
    skips = Skips("1 false", {OLD})

    assert not skips.note("1 false", {OLD})
    assert skips.note("1 false", set())


def test_what_is_prepared_later_wrote_its_letters() -> None:
    """It is no holder unless it holds the mark."""
    skips = Skips("5 true")
    skips.note("6 true", {PREPARED + "900"})

    assert skips.holders == set()
