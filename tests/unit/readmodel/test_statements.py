"""What every statement over the owners' tables keeps to."""

import re
from importlib.resources import files

import pytest

STATEMENTS = {
    f"{package}/{file.name}": file.read_text()
    for package in ("readmodel.postgres.sql", "projector.sql", "readside.inspection.sql", "projector.tail.sql")
    for file in files(package).iterdir()
    if file.name.endswith(".sql")
}
TEXT_COLUMN = r"\b[a-z]+\.(event_type|status|message)\b(::(pg_catalog\.)?text)?"
COMPARISON = r"\s*(=|<>|<|>|!=|~|\bIN\b|\bNOT IN\b|\bLIKE\b|\bBETWEEN\b|\bIS DISTINCT\b)"


@pytest.mark.parametrize("name", sorted(STATEMENTS))
def test_no_text_of_the_owners_is_compared_by_its_columns_collation(name: str) -> None:
    """Different texts may be the same in it: whoever compares or groups says "C"."""
    text = re.sub(r"--.*", "", STATEMENTS[name])

    assert re.findall(TEXT_COLUMN + COMPARISON, text) == []
    assert re.findall(r"(GROUP BY|ORDER BY|DISTINCT)[^\n]*?\b[es]\.(event_type|status|message)", text) == []
