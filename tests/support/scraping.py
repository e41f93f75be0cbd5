"""Scraping as Prometheus does, and what moved between two scrapes."""

import re

Scrape = dict[str, float]
"""Values by series: `name` or `name{label=value,…}`; the buckets of histograms are left out."""
_SERIES = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)", re.ASCII)
_LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"(?:,|$)', re.ASCII)
_ESCAPED, _MEANT = re.compile(r"\\(.)"), {"\\": "\\", "n": "\n", '"': '"'}


def series(text: str) -> Scrape:
    """Parse a scrape: ours, of which tests/unit/test_scraping.py shows that Prometheus' own parser gives the same.

    That one takes a hundred times as long, and hundreds of tests scrape.
    """
    found = {}
    for line in text.removesuffix("\n").split("\n"):
        if not line.startswith("#") and "_bucket{" not in line:
            matched = _SERIES.fullmatch(line)
            assert matched, line
            name, labels, value = matched.groups()
            found[name + (f"{{{_plain(labels)}}}" if labels else "")] = float(value)
    return found


def _plain(labels: str) -> str:
    """Labels in order, without quotes and escapes."""
    assert not _LABEL.sub("", labels), labels
    pairs = [(name, _ESCAPED.sub(lambda found: _MEANT[found[1]], value)) for name, value in _LABEL.findall(labels)]
    return ",".join(f"{name}={value}" for name, value in sorted(pairs))


def moved(before: Scrape, after: Scrape, *leave_out: str) -> Scrape:
    """What was counted between two scrapes: series ending in _total or _count, without those that begin so."""
    return {
        name: value - before.get(name, 0)
        for name, value in after.items()
        if name.split("{")[0].endswith(("_total", "_count"))
        and value != before.get(name, 0)
        and not name.startswith(leave_out or (" ",))
    }
