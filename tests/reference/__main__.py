"""Writes the pages of specs/reference anew: `make reference`."""

from tests.reference.pages import PAGES, REFERENCE

if __name__ == "__main__":
    REFERENCE.mkdir(exist_ok=True)
    for name, make in PAGES.items():
        (REFERENCE / name).write_text(make(), encoding="utf-8")
