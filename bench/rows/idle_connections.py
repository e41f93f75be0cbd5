"""5,000 idle connections, all to be served, and a poll beside them; the soft limit of open files is 1,024."""

from bench.attack import CROWDS
from bench.rows.attacks import EVENTS_EACH, SESSIONS, SLOWEST, struck
from bench.rows.polling import polled_site
from bench.siege import Damage
from bench.stack import Servers
from bench.table import Figure, Measurement, Row, Target

NAME = "idle-connections"
CROWD = "idle-5000"
_CROWD = CROWDS[CROWD]


async def measure(servers: Servers) -> Measurement:
    """Open them, let them ask once, poll beside them, and let them ask again."""
    async with polled_site(servers, sessions=SESSIONS, events_each=EVENTS_EACH) as site:
        return Measurement(rows(await struck(site, CROWD, _CROWD, servers.choices.seconds)))


def rows(damage: Damage) -> list[Row]:
    """How many were served to the end, and the slowest poll."""
    each_kb = damage.gained_mb * 1_000 / _CROWD.connections
    note = f"{damage.gained_mb:.0f} MB gained, {each_kb:.1f} kB each; {damage.outcome.words()}"
    served = Figure([float(damage.outcome.served)], "connections", note)
    slowest = Figure([damage.slowest_seconds], "s", damage.bystander.words())
    return [
        Row(f"{_CROWD.what}: served to the end", served, target=Target(_CROWD.connections, unit="connections")),
        Row(f"slowest poll of another client beside {_CROWD.what}", slowest, target=SLOWEST),
    ]
