"""What the site shows from outside specs/: README as its first page, other documents, charts, and files linked to.

MkDocs calls `on_files` and `on_page_markdown` (mkdocs.yml, `hooks`). A page's links are written as for GitHub, relative
to its file in the repository. Here they become links of the site. So a link is written once, and works in both places.
"""

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
SPECS = "specs/"
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "SECURITY.md": "project/security.md",
    "clients/python/README.md": "reference/python-client.md",
    "clients/js/README.md": "reference/javascript-client.md",
}
"""Documents outside specs/ that are pages of the site, and their places there."""
_PICTURES = {".svg", ".png"}
_DOCUMENTS = {page: document for document, page in PAGES.items()}
_LINK = re.compile(r"(?<=\]\()(?!\w+:|#)(?P<path>[^)#\s]+)(?=[)#])")
_FENCE = re.compile(r"^( *)(```|~~~).*?^\1\2", re.MULTILINE | re.DOTALL)


def on_files(files: Files, /, *, config: MkDocsConfig) -> Files:
    """Add the documents of `PAGES`, and each file that a page links or shows."""
    for document, place in PAGES.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / document)))
    for page in files.documentation_pages():
        for target in targets(page.content_string, document_of(page.src_uri)):
            if (ROOT / target).is_file() and not files.get_file_from_path(place_of(target)):
                files.append(File.generated(config, place_of(target), abs_src_path=str(ROOT / target)))
    return files


def on_page_markdown(markdown: str, /, *, page: Page, **_: object) -> str:
    """Return the page's text with the links of the site."""
    if page.is_homepage:
        page.meta["hide"] = ["navigation"]  # it would list this page alone
    return relinked(markdown, page.file.src_uri)


def targets(markdown: str, document: str) -> list[str]:
    """Return the files that a document links or shows, as paths in the repository."""
    return [_target(match["path"], document) for match in _LINK.finditer(_FENCE.sub("", markdown))]


def relinked(markdown: str, page: str) -> str:
    """Return a page's text with links to pages and files of the site. `page` is its place there: `start/demo.md`."""
    document, directory = document_of(page), str(PurePosixPath(page).parent)

    def link(match: re.Match[str]) -> str:
        return relpath(place_of(_target(match["path"], document)), directory)

    parts, end = [], 0
    for fence in _FENCE.finditer(markdown):
        parts += [_LINK.sub(link, markdown[end : fence.start()]), fence.group()]
        end = fence.end()
    return "".join([*parts, _LINK.sub(link, markdown[end:])])


def document_of(page: str) -> str:
    """Return the file in the repository that a page of the site is made from."""
    return _DOCUMENTS.get(page, SPECS + page)


def place_of(path: str) -> str:
    """Return where the site has a file of the repository. Sources are shown as plain text."""
    if path in PAGES:
        return PAGES[path]
    if path.startswith(SPECS):
        return path.removeprefix(SPECS)
    return f"repository/{path}" + ("" if PurePosixPath(path).suffix in _PICTURES else ".txt")


def _target(path: str, document: str) -> str:
    return normpath(PurePosixPath(document).parent / path)
