"""How documents are followed: which samples are found, and what each mark has the script do."""

from pathlib import Path

import pytest

from tests.docs.follow import DOCUMENTS, Shell, StrayError, Walk, alike, of_the_demo, shown_variables
from tests.docs.samples import ROOT, Sample, samples

DOCUMENT = """\
Say who you are:

<!-- follow: yours -->
```sh
export NAME=your-name
```

```sh
printf '{"hello": "%s"}' "$NAME"
```

<!-- follow: answer -->
```json
{"hello": "Ann"}
```

1. And then:

   ```sh
   false
   ```
"""


def followed(tmp_path: Path, document: str) -> list[str]:
    """Follow a document whose reader is Ann; return what the script said."""
    said: list[str] = []
    (tmp_path / "page.md").write_text(document)
    Walk(tmp_path, {"PATH": "/usr/bin:/bin"}, {"NAME": "Ann"}, False, said.append).follow("page.md")
    return said


def test_samples_are_found() -> None:
    """With language, mark and line; one within a list loses its indent."""
    assert samples(DOCUMENT) == [
        Sample("sh", "export NAME=your-name\n", "yours", 5),
        Sample("sh", 'printf \'{"hello": "%s"}\' "$NAME"\n', "", 9),
        Sample("json", '{"hello": "Ann"}\n', "answer", 14),
        Sample("sh", "false\n", "", 20),
    ]


def test_an_unknown_mark_is_an_error() -> None:
    """It would be read over otherwise."""
    with pytest.raises(ValueError, match="'later' says nothing"):
        samples("<!-- follow: later -->\n```sh\nls\n```\n")


def test_a_document_is_followed(tmp_path: Path) -> None:
    """The reader's variables are ours, and the answer is held against what was printed."""
    said = followed(tmp_path, DOCUMENT.partition("1. And")[0])

    assert said[1:] == ['    {"hello": "Ann"}\n', "    … answered as it is written (answer)"]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (DOCUMENT, r"page.md:20: it ended with exit code 1"),
        (
            DOCUMENT.replace('{"hello": "Ann"}', '{"hello": "Bob"}'),
            r"page.md:14: what was printed is '{\"hello\": \"Ann\"}'",
        ),
        (DOCUMENT.replace("export NAME", "export OTHER"), "page.md:5: nothing says what OTHER is"),
        ("<!-- follow: stays -->\n```sh\necho no\n```\n", "page.md:3: it ended:\nno"),
    ],
)
def test_what_is_not_so_is_told(tmp_path: Path, document: str, message: str) -> None:
    """With the document's line."""
    with pytest.raises(StrayError, match=message):
        followed(tmp_path, document)


def test_what_may_fail_goes_on(tmp_path: Path) -> None:
    """And so does what is left to the reader, or takes long."""
    document = (
        "<!-- follow: may fail -->\n```sh\nfalse\n```\n<!-- follow: not -->\n```sh\nexit 3\n```\n```sh\necho on\n```\n"
    )

    assert followed(tmp_path, document)[-1] == "    on\n"
    assert followed(tmp_path, document.replace("not", "long"))[-1] == "    on\n"


def test_what_stays_gives_its_values(tmp_path: Path) -> None:
    """It is ended with the document."""
    printed = "API key     a-key\\n/sessions/8af3893e-25e2-4cef-98c6-702d40391cc9/events\\nCtrl-C ends everything."
    stays = f"<!-- follow: stays -->\n```sh\nprintf '{printed}'; exec sleep 60\n```\n"
    yours = '<!-- follow: yours -->\n```sh\nexport KEY=k\n```\n```sh\necho "$KEY"\n```\n'

    said = followed(tmp_path, stays + yours)

    assert said[-1] == "    a-key\n"


def test_a_shell_keeps_what_it_was_told(tmp_path: Path) -> None:
    """Variables and background jobs go from sample to sample."""
    shell = Shell(tmp_path, {"PATH": "/usr/bin:/bin"})
    shell.run("ONE=1\ncat fifo >/dev/null 2>&1 || true &")

    assert shell.run("wait; echo $ONE") == "1\n"
    shell.end()


def test_what_is_alike() -> None:
    """The same fields of the same types; null is like anything, and payloads may differ."""
    one = {"items": [{"id": "a", "step_id": None, "event_data": {"x": 1}}], "total": 1}

    assert alike(one, {"items": [{"id": "b", "step_id": "c", "event_data": {}}], "total": 7})
    assert not alike(one, {"items": [{"id": "b", "event_data": {}}], "total": 7})
    assert not alike(one, {"items": [], "total": "7"})


def test_the_demos_words_are_understood() -> None:
    """Those of `readside demo`; without them there are no values."""
    assert of_the_demo("  API key       k-1\n  …/api/v2/sessions/8af3893e-25e2-4cef-98c6-702d40391cc9/events") == {
        "KEY": "k-1",
        "SESSION": "8af3893e-25e2-4cef-98c6-702d40391cc9",
    }
    assert of_the_demo("") == {}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_documents_can_be_followed(document: str) -> None:
    """Each has commands, answers, and variables of the reader's that the script knows."""
    found = samples((ROOT / document).read_text())
    yours = {name for sample in found if sample.mark == "yours" for name in shown_variables(sample.text)}

    assert [sample for sample in found if sample.language == "sh" and sample.mark == ""]
    assert {sample.mark for sample in found} & {"answer", "alike"}
    assert yours <= {"ADMIN_URL", "READSIDE_REDIS_URL", "KEY", "SESSION"}
