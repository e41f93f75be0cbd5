"""The pages of specs/reference are what the code makes of them: `make reference` writes them anew."""

import re

import pytest

from readside.settings import PREFIX, Settings
from tests.reference.pages import PAGES, REFERENCE


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_the_code_makes_of_it(name: str) -> None:
    """One that differs is out of date, or was edited by hand."""
    assert (REFERENCE / name).read_text() == PAGES[name](), "It is out of date: `make reference` writes it anew."


def test_every_setting_is_there_and_says_what_it_means() -> None:
    """One row each, in the order of the code, with a full sentence."""
    rows = re.findall(r"^\| `(READSIDE_\w+)` \| .+ \| (.+) \|$", (REFERENCE / "settings.md").read_text(), re.MULTILINE)

    assert [name for name, _ in rows] == [
        field.validation_alias or PREFIX + name.upper() for name, field in Settings.model_fields.items()
    ]
    assert [meaning for _, meaning in rows if not meaning.endswith(".")] == []


def test_a_metric_that_is_named_elsewhere_is_there() -> None:
    """The runbook's and the rules' are on the page."""
    page = (REFERENCE / "metrics.md").read_text()
    listed = {re.sub("_total$", "", name) for name in re.findall(r"^\| `(\w+)`", page, re.MULTILINE)}
    text = "".join(
        (REFERENCE.parents[1] / name).read_text() for name in ("specs/runbook.md", "deploy/prometheus/rules.yml")
    )
    named = {re.sub("_(total|bucket|sum|count)$", "", name) for name in re.findall(r"\breadside_[a-z_]+[a-z]\b", text)}

    assert len(named) > 10
    assert sorted(named - listed) == []
