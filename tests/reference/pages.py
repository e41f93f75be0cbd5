"""The pages of reference, each with what makes it."""

from collections.abc import Callable
from pathlib import Path

from tests.reference.commands_page import commands_page
from tests.reference.http_page import http_page
from tests.reference.metrics_page import metrics_page
from tests.reference.settings_page import settings_page

REFERENCE = Path(__file__).parents[2] / "specs" / "reference"
PAGES: dict[str, Callable[[], str]] = {
    "http.md": http_page,
    "settings.md": settings_page,
    "commands.md": commands_page,
    "metrics.md": metrics_page,
}
