"""How an error of ours ends the command line."""

from types import SimpleNamespace

import pytest

from readmodel.errors import DemoError, ServiceError
from readside import cli


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (DemoError("It ended.\n  Its last words:\x1b[2J"), "readside: It ended.\n  Its last words:\\u001b[2J\n"),
        (
            ServiceError("A server says:\nreadside: all is well"),
            "readside: A server says:\\u000areadside: all is well\n",
        ),
    ],
)
def test_lines_of_a_part_stay_lines_and_a_servers_words_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: ServiceError, told: str
) -> None:
    """Nothing in them steers a terminal; what a server says cannot pass for a line of ours."""

    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(cli, "StandardStreams", lambda: SimpleNamespace(finish=lambda: None))
    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit, match=r"^2$"):
        cli.main()

    assert capsys.readouterr().err == told
