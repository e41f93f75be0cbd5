"""The command line: what can be typed, and how errors end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from readmodel.errors import DemoError, ServiceError
from readmodel.shown import printable
from readmodel.version import VERSION
from readside.streams import StandardStreams

if TYPE_CHECKING:
    from readside.settings import Settings

FAILED = 2
"""Exit code of whatever could not be done: a wrong setting, a server away, no leader."""

app = typer.Typer(
    name="readside",
    help="Answers event polls from Redis, exactly as PostgreSQL would, and says how fresh each answer is.",
    epilog="Settings are environment variables: READSIDE_DATABASE_URL and READSIDE_REDIS_URL first.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Sessions = Annotated[
    list[str] | None, typer.Argument(metavar="SESSION", help="Session ids (UUIDs).", show_default=False)
]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"readside {VERSION}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
]


def main() -> None:
    """Run the command line; every error of ours is one line on stderr, but for the last lines of a demo's part."""
    streams = StandardStreams()
    try:
        try:
            app(prog_name="readside")
        finally:
            streams.finish()
    except ServiceError as error:
        from readside.logging import hidden

        told = f"readside: {hidden(str(error))}"
        # What a server says stays in one line: it cannot pass for another of ours.
        lines = told.split("\n") if isinstance(error, DemoError) else [told]
        typer.echo("\n".join(map(printable, lines)), err=True)
        raise SystemExit(FAILED) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


@app.callback()
def options(_version: Version = False) -> None:
    """Say what holds for every command."""


@app.command()
def install(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the SQL and change nothing.")] = False,
    role: Annotated[
        str | None, typer.Option(help="Grant this role what projector, API and verify need.", show_default=False)
    ] = None,
    _version: Version = False,
) -> None:
    """Install the triggers that tell the projector what was committed.

    They live in a schema of their own (READSIDE_SCHEMA) and belong to the owner of events. No table of the
    applications is altered. You can run it again at any time: it changes only what is missing or of an earlier
    version, and locks nothing otherwise.

    Run it as the owner of both tables, with CREATE on the database. It refuses a schema that holds other things.

    Where there are standbys, run CHECKPOINT afterwards, on the primary and then on each standby. A standby that is
    promoted before that refuses every write to sessions and events.
    """
    from projector.tail.triggers import install_sql
    from readside.commands import triggers

    if dry_run:
        typer.echo(install_sql(_settings().database_schema, role))
        return
    _run(triggers.install(_settings(), role))


@app.command()
def uninstall(_version: Version = False) -> None:
    """Remove the triggers and everything else that install made."""
    from readside.commands import triggers

    _run(triggers.uninstall(_settings()))


@app.command()
def projector(_version: Version = False) -> None:
    """Run the projector until SIGINT or SIGTERM.

    It reads what was committed, and keeps the hot sessions in Redis. Several may run: one leads, and another takes
    over when it ends. While a server is away it waits, and says so in its log.
    """
    settings = _settings()
    config = settings.projector_config()  # a wrong setting ends here, before all else is loaded

    from readside.projector import run_projector
    from readside.secret_files import warn_of_open_files
    from readside.tracing import traced

    warn_of_open_files(settings.secret_files())
    with traced("readside-projector"):
        _run(run_projector(config))


@app.command()
def api(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, help="Number of processes. Each keeps its own finished answers.")] = 1,
    root_path: Annotated[str, typer.Option(help="Path prefix that a proxy in front strips.")] = "",
    _version: Version = False,
) -> None:
    """Run the query API until SIGINT or SIGTERM, which let running requests finish.

    Each process takes READSIDE_MAX_CONNECTIONS connections, or fewer where its limit of open files is too low. The
    log then says what to set.

    Exit code 0: it was told to end. 1: a part of it failed, as its log says. 3: it could not start.
    """
    settings = _settings()
    settings.api_config(root_path)  # a wrong setting ends here, before all else is loaded and any worker starts

    from readside.api_server import serve

    serve(host=host, port=port, workers=workers, root_path=root_path)


@app.command()
def demo(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the API.")] = 8000,
    data: Annotated[Path | None, typer.Option(help="Keep the servers' data here, for the next demo.")] = None,
    chaos: Annotated[bool, typer.Option("--chaos", help="Break parts at random, and tell how they heal.")] = False,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Repeat the faults of --chaos that began from this seed.", show_default=False),
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="End once the first event is shown, to measure the start.")
    ] = False,
    _version: Version = False,
) -> None:
    """Run everything on this machine, with nothing configured: servers, triggers, projector, API and live sessions.

    It says how far it has come, and then prints the URLs, an API key and two commands to paste. A part that ends is
    started again, with a line that says so and how long the service took to heal. Ctrl-C ends everything; nothing is
    left behind without --data.

    With --chaos it kills and freezes parts, empties Redis and cuts connections. Each fault has a line with the time to
    heal: until a poll shows, from memory or Redis, an event that was committed after the fault.
    """
    typer.echo(f"The demo starts on this machine, with its API on port {port}. Ctrl-C ends it.")

    from readside.demo.options import DemoOptions
    from readside.demo.run import run_demo

    if seed is None and chaos:
        seed = time.time_ns() % 100_000
    _run(run_demo(DemoOptions(port, data, seed, once)))


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it again and again until Ctrl-C.")] = False,
    interval: Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds between two looks of --watch.")] = 1.0,
    _version: Version = False,
) -> None:
    """Tell whether the view is live. If not: why, what users see, and what to do.

    It also tells how many connections each API process has, and warns where one is near its bound.

    With --watch a terminal is redrawn; a pipe gets a block of lines, or a line of JSON, for each look. It goes on
    while Redis is away.

    Exit code 0: live. 1: catching up, or stale. 2: down, or Redis cannot be reached. With --watch: of the last look.
    """
    from readside.commands import status as command

    if watch:
        _run(command.watch(_settings(), as_json=as_json, interval_seconds=interval))
    else:
        _run(command.status(_settings(), as_json=as_json))


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
    _version: Version = False,
) -> None:
    """Check settings, both stores, versions, rights, TLS, triggers, clocks and limits, and say what to do.

    It prints a line for each: ok, warning (works, but mend it), problem, or unknown (could not be checked). It changes
    nothing. Run it where the projector or the API runs, with the same settings and as the same user.

    Exit code 0: all is well, without a warning. 1: a warning or a problem. 2: something could not be looked at.
    """
    from readside.commands.doctor import doctor as look
    from readside.logging import configure
    from readside.settings import read_as_far_as_possible

    settings, wrong = read_as_far_as_possible()
    configure(settings.log_level, settings.log_format, settings.secrets())
    _run(look(settings, wrong, as_json=as_json))


@app.command()
def explain(
    session: Annotated[str, typer.Argument(metavar="SESSION", help="Session id (UUID).", show_default=False)],
    event: Annotated[
        str | None,
        typer.Argument(metavar="EVENT", help="Event id (UUID), to be told where that event is.", show_default=False),
    ] = None,
    offset: Annotated[
        str | None,
        typer.Option(
            metavar="OFFSET",
            help="Offset of the session's stream, to be told whether it can be continued and by which store.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
    _version: Version = False,
) -> None:
    """Tell whether a session is hot, what each store holds of it, where an event is, and who answers its polls.

    With --offset: what an offset of its stream is, whether the arrival log or PostgreSQL continues it or it gets
    410, and how many events come after it.

    It changes nothing: the session is neither warmed nor kept hot. What Redis lacks is looked for again for up to 3 s,
    since the view may be about to hear of it.

    Exit code 0: explained. 2: a store cannot be asked; what the other one tells is printed all the same.
    """
    from readside.commands.explain import explain as show

    _run(show(_settings(), session, event, offset=offset, json=as_json))


@app.command()
def warm(
    sessions: Annotated[list[str], typer.Argument(metavar="SESSION", help="Session ids (UUIDs).", show_default=False)],
    _version: Version = False,
) -> None:
    """Bring sessions into Redis now, and return when they are hot.

    Exit code 1: some could not be made hot, each named. 2: no leading projector answered within 5 s.
    """
    from readside.commands import sessions as commands

    _run(commands.warm(_settings(), sessions))


@app.command()
def rebuild(
    sessions: Sessions = None,
    everything: Annotated[bool, typer.Option("--all", help="Every session, hot or not.")] = False,
    _version: Version = False,
) -> None:
    """Load the hot sessions from PostgreSQL again, or those named, or all. Return when they are hot.

    Readers never see half a session: the old view answers until the new one is in place.
    Exit code 1: some could not be made hot, each named. 2: no leading projector answered within 5 s.
    """
    from readside.commands import sessions as commands

    _run(commands.rebuild(_settings(), sessions or [], everything=everything))


@app.command()
def verify(
    sessions: Sessions = None,
    repair: Annotated[bool, typer.Option("--repair", help="Have the projector reload what differs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
    _version: Version = False,
) -> None:
    """Compare every hot session with PostgreSQL, event by event, or those named.

    Writers may go on: a difference counts only if it stays once the view has caught up.
    Exit code 0: the same. 1: any difference, repaired or not. 2: could not compare, or not repair; what was found is
    printed all the same.
    """
    from readside.commands import sessions as commands

    _run(commands.verify(_settings(), sessions or [], repair=repair, as_json=as_json))


@app.command()
def token(
    sessions: Annotated[
        list[str],
        typer.Argument(metavar="SESSION", help="Session ids (UUIDs), or '*' for every session.", show_default=False),
    ],
    ttl: Annotated[int, typer.Option(min=1, max=86_400 * 30, help="Seconds until the token ends.")] = 3600,
    subject: Annotated[
        str | None,
        typer.Option(
            help="Whose token it is (claim `sub`). Request limits count for each subject.", show_default=False
        ),
    ] = None,
    _version: Version = False,
) -> None:
    """Mint a token that lets its bearer read these sessions, and print it alone.

    It is signed with the first secret of READSIDE_JWT_SECRET, for READSIDE_JWT_AUDIENCE and from READSIDE_JWT_ISSUER.
    Whoever has the token can use it until it ends. Only another secret takes it back.
    """
    from readside.commands import token as command

    command.token(_settings(), sessions, ttl_seconds=ttl, subject=subject)


def _settings() -> Settings:
    import structlog

    from readside.logging import configure
    from readside.settings import Settings, unknown_variables

    settings = Settings()
    configure(settings.log_level, settings.log_format, settings.secrets())
    log = structlog.get_logger(__name__)
    for name, meant in unknown_variables().items():
        log.warning("a variable is no setting of readside, and does nothing", variable=name, meant=meant)
    for name, parameters in settings.without_effect().items():
        log.warning("parameters of a URL do nothing: our connections have names of their own", variable=name,
                    parameters=list(parameters))  # fmt: skip
    return settings


def _run(command: Coroutine[Any, Any, int | None]) -> None:
    """Run a command on uvloop; exit with the code it gives."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(command)
    if code:
        raise typer.Exit(code)
