"""What a client without a key can do: the memory gained by each attack, and another client's slowest poll meanwhile."""

from collections.abc import Sequence

from bench.attack import CROWDS, FURTHER, KEYED, KNOWN, Attack, Prey
from bench.contest import answer_of, nothing_new
from bench.rows.polling import EVENTS_PATH, polled_site
from bench.siege import SETTLE_SECONDS, Damage, attacked
from bench.stack import API_KEY, Servers, Site
from bench.table import Figure, Measurement, Row, Target

NAME = "attacks"
SESSIONS, EVENTS_EACH = 2, 1_000
OPEN_FILES = 1_024
"""The soft limit that a process has by default."""
WARM_UP_POLLS = 500
MEMORY, SLOWEST = Target(40, at_most=True, unit="MB"), Target(0.5, at_most=True, unit="s")
TO_BE_ENDED = frozenset({"half-sent", "silent"})
SHOWN = {**KNOWN, "idle-1500": CROWDS["idle-1500"]}


async def measure(servers: Servers) -> Measurement:
    """Attack one process after the other, each new: memory that one attack leaves behind would hide the next one's."""
    found: list[Row] = []
    further: dict[str, tuple[Attack, Damage]] = {}
    async with polled_site(servers, sessions=SESSIONS, events_each=EVENTS_EACH) as site:
        for name, attack in SHOWN.items():
            found += rows(name, attack, await struck(site, name, attack, servers.choices.seconds))
        for name, attack in FURTHER.items():
            further[name] = attack, await struck(site, name, attack, servers.choices.seconds)
            _tell(*further[name])
    keyless, keyed = ([further[name] for name in further if (name in KEYED) is takes] for takes in (False, True))
    return Measurement([*found, *worst("other attacks", keyless), *worst("attacks that take a key", keyed)])


async def struck(site: Site, name: str, attack: Attack, seconds: int | None) -> Damage:
    """Attack a new API process. Raises BenchError when the attack itself fails, DemoError when the process dies."""
    async with site.api_process(open_files=OPEN_FILES) as (port, process):
        target = await nothing_new(port, EVENTS_PATH)
        await answer_of(port, f"{EVENTS_PATH}?limit=1000")
        for _ in range(WARM_UP_POLLS):
            await answer_of(port, target)
        prey = Prey(port, EVENTS_PATH, API_KEY)
        return await attacked(process, prey, target, name, seconds or attack.seconds, SETTLE_SECONDS)


def rows(name: str, attack: Attack, damage: Damage) -> list[Row]:
    """The memory that was gained and the slowest poll."""
    left = f"{damage.left_mb:+.0f} MB {SETTLE_SECONDS:g} s after; {damage.outcome.words()}"
    slowest = Figure([damage.slowest_seconds], "s", damage.bystander.words())
    found = [
        Row(f"memory gained by {attack.what}", Figure([damage.gained_mb], "MB", left), target=MEMORY),
        Row(f"slowest poll of another client beside {attack.what}", slowest, target=SLOWEST),
    ]
    if name in TO_BE_ENDED:
        ended = Figure([float(damage.outcome.ended)], "connections", f"within {damage.outcome.seconds:.0f} s")
        wanted = Target(attack.connections, unit="connections")
        found.append(Row(f"{attack.what}: ended by the server", ended, target=wanted))
    return found


def worst(kind: str, further: Sequence[tuple[Attack, Damage]]) -> list[Row]:
    """The largest memory gained and the slowest poll of many attacks, each with the attack that it belongs to."""
    largest, gained = max(further, key=lambda pair: pair[1].gained_mb)
    slow, waited = max(further, key=lambda pair: pair[1].slowest_seconds)
    failed = sum(damage.bystander.failed for _, damage in further)
    return [
        Row(
            f"most memory gained by {len(further)} {kind}",
            Figure([gained.gained_mb], "MB", largest.what),
            target=MEMORY,
        ),
        Row(
            f"slowest poll of another client beside {len(further)} {kind}",
            Figure([waited.slowest_seconds], "s", f"{slow.what}; {failed:,} polls failed in all"),
            target=SLOWEST,
        ),
    ]


def _tell(attack: Attack, damage: Damage) -> None:
    print(
        f"  {attack.what}: {damage.gained_mb:.1f} MB gained, {damage.left_mb:.1f} left, slowest poll "
        f"{damage.slowest_seconds:.3f} s of {damage.bystander.words()}; {damage.outcome.words()}",
        flush=True,
    )
