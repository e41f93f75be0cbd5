"""What commands write, whatever a store holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readmodel.shown import printable
from readside.commands.terminal import tell


@given(st.text())
def test_a_line_is_printable(text: str) -> None:
    """And what is printable stays as it is."""
    told = printable(text)

    assert told.replace("\xa0", "").replace("\u3000", "").isprintable() or not text.isprintable()
    assert not set(told) & set(map(chr, [*range(32), *range(127, 160), 0x2028, 0x2029, 0x202E, 0xFEFF]))
    assert told == text or not text.isprintable()


def test_what_a_command_tells_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Its own lines stay lines."""
    tell("one\n\x1b[2Jtwo")

    assert capsys.readouterr().out == "one\n\\u001b[2Jtwo\n"
