"""What the documents say, held against the code: settings, commands, paths, links, decisions, examples."""

import re
from pathlib import Path

import pytest
import typer

from projector.tail.trigger_catalog import functions, triggers
from query_api.openapi import document
from readmodel.view.keys import Keys
from readside.cli import app
from readside.settings import PREFIX, Settings
from tests.support.named_tests import names_in

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "specs" / "reference"
FEATURE = ROOT / "specs" / "001-session-events"
DECISIONS = ROOT / "specs" / "decisions"
DOCUMENTS = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")] + sorted(
    (ROOT / "specs").rglob("*.md")
)


def rows(text: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading, without its own two head rows."""
    section = f"\n{text}".split(f"\n{heading}\n", 1)[1]
    table = re.search(r"(?:^\|.*\|\n)+", section, re.MULTILINE)
    assert table, heading
    lines = table.group().splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def page(name: str) -> str:
    """Return a page of the reference."""
    return (REFERENCE / name).read_text()


def shown(default: object) -> str:
    """Write a setting's default as the table does."""
    if default in {"", None}:
        return "–"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub makes of a document's headings."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_settings_table_is_the_settings() -> None:
    """Every variable is on its page with its default, in the order of the code, and no other."""
    documented = [(name.strip("`"), default) for name, _, default, _ in rows(page("settings.md"), "# Settings")]

    assert documented == [
        (field.validation_alias or PREFIX + name.upper(), shown(field.default))
        for name, field in Settings.model_fields.items()
    ]


def test_every_setting_says_what_it_means() -> None:
    """A row has four cells, the last one full."""
    assert [row for row in rows(page("settings.md"), "# Settings") if len(row) != 4 or not row[3]] == []


def test_every_command_is_documented() -> None:
    """The table holds the commands of `readside --help`, and no other."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # it is a group
    documented = [re.match(r"\[`readside (\w+)", row[0]) for row in rows(page("commands.md"), "# Commands")]

    assert [match.group(1) for match in documented if match] == list(commands)


def test_every_option_that_is_documented_exists() -> None:
    """`--something` on the page of commands is an option of some command."""
    commands = typer.main.get_command(app).commands.values()  # type: ignore[attr-defined]
    options = {option for command in commands for parameter in command.params for option in parameter.opts}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", page("commands.md")))

    assert named - {"--help"} <= options


def test_every_route_is_documented() -> None:
    """The table of routes is the OpenAPI document's."""
    documented = {
        route
        for row in rows(page("http.md"), "## Routes")
        for route in re.findall(r"`(?:GET, HEAD|POST) ([^`]+)`", row[0])
    }

    assert documented == set(document("")["paths"])


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_resolve(path: Path) -> None:
    """A link to a file or to a heading leads somewhere."""
    links = re.findall(r"\]\((?!\w+://)([^)#]*)(?:#([^)]+))?\)", path.read_text())
    targets = [((path.parent / target) if target else path, anchor) for target, anchor in links]

    assert [str(target) for target, _ in targets if not target.exists()] == []
    assert [
        f"{target}#{anchor}" for target, anchor in targets if anchor and anchor not in anchors(target.read_text())
    ] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_paths_in_the_documents_exist(path: Path) -> None:
    """What is written as a file of a package is one."""
    named = re.findall(r"`((?:readside|projector|query_api|readmodel|tests|deploy)/[\w./]+)`", path.read_text())

    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_tests_in_the_documents_exist(path: Path) -> None:
    """What is written as `file::test` is a test; a file without its directory is one of races."""
    named = re.findall(r"([\w/]+\.py)::(\w+)", path.read_text())

    assert [
        f"{file}::{name}"
        for file, name in named
        if name not in names_in(file if "/" in file else f"tests/races/{file}")
    ] == []


def decisions() -> list[Path]:
    """Return the pages of decisions, by number."""
    return sorted(path for path in DECISIONS.glob("*.md") if path.name != "README.md")


@pytest.mark.parametrize("path", decisions(), ids=lambda path: path.stem)
def test_a_decision_has_the_four_headings(path: Path) -> None:
    """Context, what was decided, what was rejected and why, and what follows, on a page with its number."""
    text = path.read_text()

    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Rejected", "Consequences"]
    assert text.startswith(f"# {path.name[:4]}. ")
    assert len(text.splitlines()) < 80


def test_every_decision_is_listed() -> None:
    """The list names each page once, with its own title; numbers have no gap."""
    listed = re.findall(r"^\| \[(\d{4})\]\((.+?)\) \| (.+) \|$", (DECISIONS / "README.md").read_text(), re.MULTILINE)
    pages = decisions()

    assert [name for _, name, _ in listed] == [path.name for path in pages]
    assert [number for number, _, _ in listed] == [f"{place:04}" for place in range(1, len(pages) + 1)]
    titles = [path.read_text().splitlines()[0].partition(". ")[2] for path in pages]
    assert [title for _, _, title in listed] == titles


def test_the_plan_keeps_the_thirteen_principles() -> None:
    """Each principle has its number, its name and a sentence."""
    section = (FEATURE / "plan.md").read_text().split("## The thirteen principles\n")[1]
    principles = re.findall(r"^(\d+)\. \*\*(.+?)\*\* \(.+?\): \w.+?\.$", section, re.MULTILINE | re.DOTALL)

    assert [int(number) for number, _ in principles] == list(range(1, 14))


def test_the_data_model_lists_every_script() -> None:
    """And no other."""
    scripts = {path.name for package in ("projector", "readmodel") for path in (ROOT / package).rglob("*.lua")}
    listed = [name.strip("`") for name, _ in rows((FEATURE / "data-model.md").read_text(), "## Scripts")]

    assert sorted(listed) == sorted(scripts)


def test_the_data_model_names_every_key() -> None:
    """A key or channel that the code uses is in the table of keys or of messages."""
    text = (FEATURE / "data-model.md").read_text()
    keys, session = Keys("readside"), "<session>"
    names = [keys.position, keys.hot, keys.projectors, keys.apis]
    names += [keys.header(session), keys.events(session), keys.index(session), keys.staging("<random>") + "e"]
    channels = [keys.changes, keys.requests, keys.replies("<id>")]

    assert [name for name in names if f"`P:{name.removeprefix(keys.base)}`" not in text] == []
    assert [name for name in channels if f"`P:{name.removeprefix(keys.base).replace(':0', ':D', 1)}`" not in text] == []


def test_the_data_model_names_every_field_that_the_scripts_write() -> None:
    """Fields of the position and of the header are explained."""
    text = (FEATURE / "data-model.md").read_text()
    scripts = "".join((ROOT / "projector/view/scripts" / name).read_text() for name in ("begin.lua", "apply.lua"))
    calls = re.findall(r"'(?:HSET|HINCRBY)', (?:position|header|base[^,]*), ([^\n]*(?:\n    '[^\n]*)?)", scripts)
    fields = {field for call in calls for field in re.findall(r"'([a-z_]{2,})'", call)}

    assert fields >= {"term", "as_of", "previous_as_of", "writing", "held", "bytes", "newest"}
    assert [field for field in sorted(fields) if f"`{field}`" not in text] == []


def test_the_data_model_knows_the_triggers() -> None:
    """The counts of triggers and functions are right."""
    text = (FEATURE / "data-model.md").read_text()

    assert (len(functions("readside")), len(triggers("readside"))) == (13, 8)
    assert "thirteen functions, eight triggers, three tables and four sequences" in text
