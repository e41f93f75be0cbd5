"""5,000 idle connections, all to be served, and a poll beside them; the soft limit of open files is 1,024."""

from bench.rows.attacks import EVENTS_EACH, SESSIONS, SLOWEST, Attack, Damage, attacked
from bench.rows.polling import polled_site
from bench.stack import Servers
from bench.table import Figure, Measurement, Row, Target

NAME = "idle-connections"
CONNECTIONS, SECONDS = 5_000, 10
_CROWD = Attack("idle-5000", f"{CONNECTIONS:,} idle connections", SECONDS)


async def measure(servers: Servers) -> Measurement:
    """Open them, let them ask once, poll beside them, and let them ask again."""
    async with polled_site(servers, sessions=SESSIONS, events_each=EVENTS_EACH) as site:
        return Measurement(rows(await attacked(site, _CROWD, servers.choices.seconds)))


def rows(damage: Damage) -> list[Row]:
    """Give how many were served to the end, and the slowest poll."""
    note = (
        f"{damage.gained_mb:.0f} MB gained, {damage.gained_mb * 1000 / CONNECTIONS:.1f} kB each; {damage.outcome.words}"
    )
    served = Figure([float(damage.outcome.connections)], "connections", note)
    slowest = Figure([max(damage.bystander.seconds)], "s", damage.bystander.words())
    return [
        Row(f"{_CROWD.what}: served to the end", served, target=Target(CONNECTIONS, unit="connections")),
        Row(f"slowest poll of another client beside {_CROWD.what}", slowest, target=SLOWEST),
    ]
