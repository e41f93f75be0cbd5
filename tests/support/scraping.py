"""Scraping as Prometheus does, and what moved between two scrapes."""

from prometheus_client.parser import text_string_to_metric_families

Scrape = dict[str, float]
"""Values by series: `name` or `name{label=value,…}`; the buckets of histograms are left out."""


def series(text: str) -> Scrape:
    """Parse a scrape."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if not sample.name.endswith("_bucket"):
                labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
                found[sample.name + (f"{{{labels}}}" if labels else "")] = sample.value
    return found


def moved(before: Scrape, after: Scrape, *leave_out: str) -> Scrape:
    """What was counted between two scrapes: series ending in _total or _count, without those that begin so."""
    return {
        name: value - before.get(name, 0)
        for name, value in after.items()
        if name.split("{")[0].endswith(("_total", "_count"))
        and value != before.get(name, 0)
        and not name.startswith(leave_out or (" ",))
    }
