"""The site, built once: it is whole, and nothing on it comes from another address."""

import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from sitegen.hooks import place_of, relinked, targets
from tests.docs.samples import ROOT

_ADDRESS = re.compile(r'\s(?:href|src|srcset|action|data|poster)="([^"]*)"')
_LOADED = re.compile(
    r'<(?:script|img|iframe|source|video|audio|embed|object)\b[^>]*?\s(?:src|srcset|data)="([^"]*)"'
    r'|<link\b(?![^>]*rel="(?:canonical|next|prev)")[^>]*?\shref="([^"]*)"'
)
_IMAGE = re.compile(r"<img\b[^>]*>")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built strictly: a warning fails it."""
    directory = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(directory)]
    built = subprocess.run(
        command, cwd=ROOT, env={"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    return directory


def pages(site: Path) -> Iterator[tuple[Path, str]]:
    """Every page but that of what is not found, whose links are from the site's root."""
    return ((path, path.read_text()) for path in sorted(site.rglob("*.html")) if path.name != "404.html")


@cache
def names(page: Path) -> frozenset[str]:
    """The anchors of a page."""
    return frozenset(re.findall(r'\s(?:id|name)="([^"]+)"', page.read_text()))


def leads_somewhere(page: Path, address: str) -> bool:
    """Say whether a relative address is a file of the site, and its anchor on that page."""
    parts = urlsplit(address)
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if target.is_dir():
        target /= "index.html"
    return target.is_file() and (
        not parts.fragment or target.suffix != ".html" or unquote(parts.fragment) in names(target)
    )


def test_relative_links_and_anchors_resolve(site: Path) -> None:
    """On every page, those of the navigation too."""
    assert [
        f"{page.relative_to(site)}: {address}"
        for page, text in pages(site)
        for address in set(_ADDRESS.findall(text))
        if not urlsplit(address).scheme and address not in {"", "."} and not leads_somewhere(page, address)
    ] == []


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    """No script, style, font or picture; nor is there a diagram, for which the theme would fetch a program."""
    loaded = {(page.name, address) for page, text in pages(site) for pair in _LOADED.findall(text) for address in pair}
    styles = {
        address
        for path in site.rglob("*.css")
        for address in re.findall(r"(?:url\(|@import )[\"']?([^\"')]+)", path.read_text())
    }

    assert [(page, address) for page, address in loaded if re.match(r"(?:\w+:)?//", address)] == []
    assert [address for address in styles if re.match(r"(?:https?:)?//", address)] == []
    assert [page.name for page, text in pages(site) if 'class="mermaid"' in text] == []


def test_every_picture_says_what_it_shows(site: Path) -> None:
    """For those who cannot see it."""
    assert [
        image for _, text in pages(site) for image in _IMAGE.findall(text) if not re.search(r'alt="[^"]+"', image)
    ] == []


def test_the_readme_is_the_first_page(site: Path) -> None:
    """And is short."""
    readme = (ROOT / "README.md").read_text()

    assert "What it does not guarantee" in (site / "index.html").read_text()
    assert len(readme.split()) <= 900


def test_pictures_have_both_schemes() -> None:
    """Each drawn picture has its colours for the dark, and names itself."""
    pictures = sorted((ROOT / "specs" / "images").glob("*.svg"))

    assert pictures
    assert [path.name for path in pictures if "prefers-color-scheme: dark" not in path.read_text()] == []
    assert [path.name for path in pictures if "<title" not in path.read_text()] == []


@pytest.mark.parametrize(
    ("page", "markdown", "expected"),
    [
        ("index.md", "[a](specs/start/demo.md#x)", "[a](start/demo.md#x)"),
        ("start/demo.md", "[a](../../README.md)", "[a](../index.md)"),
        (
            "start/demo.md",
            "[a](install.md) [b](#here) [c](https://a.example/b)",
            "[a](install.md) [b](#here) [c](https://a.example/b)",
        ),
        ("runbook.md", "[a](../tests/conftest.py)", "[a](repository/tests/conftest.py.txt)"),
        ("benchmarks.md", "![a](../bench/results/memory.svg)", "![a](repository/bench/results/memory.svg)"),
        ("start/demo.md", "```sh\n[a](../../README.md)\n```\n", "```sh\n[a](../../README.md)\n```\n"),
    ],
)
def test_links_become_the_sites(page: str, markdown: str, expected: str) -> None:
    """They are written as for GitHub; code and other addresses stay."""
    assert relinked(markdown, page) == expected


def test_what_a_document_links() -> None:
    """As paths in the repository, and each with its place on the site."""
    assert targets("[a](../x.md#y) ![b](c.svg)\n```\n[d](e)\n```\n", "specs/start/demo.md") == [
        "specs/x.md",
        "specs/start/c.svg",
    ]
    assert place_of("CHANGELOG.md") == "project/changelog.md"
