"""What is read off the answers around a kill."""

from bench.rows.slice_killed import Kill, TimedPoll, Watch, found, rows

STRUCK, OTHER = "a", "b"


def watch() -> Watch:
    """One session that is struck at 10, promoted at 13, and one that is not."""
    seen = Watch(port=0)
    seen.answers[STRUCK] = [
        TimedPoll(9.0, 0.001, 200, "redis", 8.9),
        TimedPoll(10.5, 0.9, 200, "memory", 9.9),
        TimedPoll(11.0, 0.02, 200, "postgres", 10.9),
        TimedPoll(12.0, 0.02, 503),
        TimedPoll(14.5, 0.001, 200, "redis", 12.9),
        TimedPoll(15.0, 0.001, 200, "memory", 14.5),
    ]
    seen.answers[OTHER] = [
        TimedPoll(5.0, 0.002, 200, "redis", 4.9),
        TimedPoll(9.5, 0.004, 200, "memory", 9.3),
        TimedPoll(10.1, 0.006, 200, "redis", 9.7),
        TimedPoll(21.0, 1.0, 200, "redis", 1.0),
    ]
    return seen


def kill() -> Kill:
    """What these answers tell."""
    return found(watch(), [STRUCK], [OTHER], (4.0, 10.0, 13.0, 20.0))


def test_other_slices_are_compared_before_and_after() -> None:
    """By the time that polls took and by how old the answers were; what came later does not count."""
    assert [round(ms) for ms in (*kill().p99_ms, *kill().lag_ms)] == [4, 6, 150, 400]
    assert [round(ms) for ms in kill().longest_lag_ms] == [200, 400]


def test_the_killed_ones_are_away_until_redis_answers_as_of_a_later_instant() -> None:
    """An answer that memory still had does not count, nor one as of an instant before the failover."""
    assert (kill().to_postgres_seconds, kill().failover_seconds, kill().to_redis_seconds) == (1.0, 3.0, 2.0)
    assert (kill().slowest_seconds, kill().refused) == (0.9, 1)


def test_the_table_says_what_is_wanted() -> None:
    """A tenth, two seconds and five."""
    told = [row.cells() for row in rows([kill()], 6)]

    assert [cells[4] for cells in told] == ["≤ 1.1 ×: missed", "≤ 1.1 ×: missed", "≤ 2 s: met", "≤ 5 s: met"]
    assert told[3][1] == "2 s (failover 3.0 s after the kill, cluster-node-timeout 1500 ms)"
