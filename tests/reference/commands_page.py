"""The page of commands: the help of each, as `readside` prints it."""

import re

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from readside.cli import app
from tests.reference.tables import code, table

HEAD = """# Commands

`readside` is one program. Each command reads its [settings](settings.md) from the environment, and has `--help` and
`--version`.

- A wrong setting or an unreachable server is one line on stderr, and exit code 2.
- `warm`, `rebuild` and `verify --repair` ask the leading projector. Where none answers within 5 s they exit with 2.
- An output that cannot be written (a full disk) is exit code 2. A reader that has gone (`| head`) is exit code 141,
  without a line.
- Any locale will do: what a stream cannot hold is written as `\\u2026`. A terminal that is too narrow for tables gets
  lines.

*This page is made from `readside/cli.py` by `make reference`.*
"""
EVERYWHERE = {"--help", "--version"}
_Parameter = TyperArgument | TyperOption


def commands_page() -> str:
    """Write the page."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    commands = {name: one for name, one in group.commands.items() if isinstance(one, TyperCommand)}
    summaries = table(
        ("command", "does"),
        ((f"[{code(f'readside {name}')}](#readside-{name})", _paragraphs(one)[0]) for name, one in commands.items()),
    )
    return "\n".join([HEAD, summaries, *(_section(name, one) for name, one in commands.items())])


def _section(name: str, command: TyperCommand) -> str:
    own = [one for one in command.params if isinstance(one, _Parameter) and not EVERYWHERE & set(one.opts)]
    arguments = [_argument(one) for one in own if isinstance(one, TyperArgument)]
    usage = " ".join(["readside", name, *(["[OPTIONS]"] if len(arguments) < len(own) else []), *arguments])
    parts = [f"## readside {name}\n", f"```text\n{usage}\n```\n", "\n\n".join(_paragraphs(command)) + "\n"]
    if own:
        context = typer.Context(command)
        rows = ((_spelling(one), _meaning(one), _default(one, context)) for one in own)
        parts.append(table(("argument or option", "meaning", "default"), rows))
    return "\n".join(parts)


def _paragraphs(command: TyperCommand) -> list[str]:
    """Split the help into paragraphs, each on one line."""
    text = re.sub(r"(?<![`\w])(--[a-z][a-z-]*|READSIDE_[A-Z_]+)", r"`\1`", command.help or "")
    return [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]


def _argument(parameter: TyperArgument) -> str:
    name = f"{parameter.metavar}…" if parameter.nargs == -1 else str(parameter.metavar)
    return name if parameter.required else f"[{name}]"


def _spelling(parameter: _Parameter) -> str:
    if isinstance(parameter, TyperArgument):
        return code(_argument(parameter))
    value = (
        "" if parameter.is_flag else f" {parameter.metavar or parameter.opts[0].strip('-').upper().replace('-', '_')}"
    )
    return code(", ".join(parameter.opts) + value)


def _meaning(parameter: _Parameter) -> str:
    least, most = getattr(parameter, "min", None), getattr(parameter, "max", None)
    bounds = [f"{least:,} or more" if least is not None else "", f"at most {most:,}" if most is not None else ""]
    told = ", ".join(bound for bound in bounds if bound)
    return f"{parameter.help}{f' ({told})' if told else ''}"


def _default(parameter: _Parameter, context: typer.Context) -> str:
    default = parameter.get_default(context, call=False)
    return "–" if default in {None, False, ""} else code(default)
