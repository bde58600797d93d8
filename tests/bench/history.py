"""A past for a Prometheus: hours of samples of the series that it goes on to scrape, written to it by remote_write."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Any

from flotilla.metrics import config
from flotilla.metrics.batches import batches
from flotilla.metrics.own import encoded
from flotilla.metrics.series import labels_end
from flotilla.metrics.wire import varint
from tasks.store import Written, store_of
from tests.bench.exposition import targets

AT_ONCE = 20  # samples of a series in a request: time goes forward for all series alike, as in what is scraped
PATTERNS = 5  # of values; two in five change, as with `exposition`
_LABEL = re.compile(r'(\w+)="([^"]*)"')


def write_history(url: str, cluster: str, nodes: int, scraping: dict[str, Any], times: range) -> int:
    """Write samples of all series of a cluster at some times (ms); return how many."""
    store, done = store_of(config.Store(url=url)), Written()
    heads = list(label_blocks(cluster, nodes, scraping))
    for first in range(0, len(times), AT_ONCE):
        slab = [samples(pattern, first, times[first : first + AT_ONCE]) for pattern in range(PATTERNS)]
        for batch in batches(head + slab[number % PATTERNS] for number, head in enumerate(heads)):
            store.write(batch, done)
    if done.refusals:
        raise SystemExit(f"a Prometheus refused its past: {done.refusals[0]}")
    return len(heads) * len(times)


def label_blocks(cluster: str, nodes: int, scraping: dict[str, Any]) -> Iterator[bytes]:
    """Yield the encoded labels of each series, as a scrape gives them."""
    given = {
        (job["job_name"], one["labels"].get("node", "")): {"job": job["job_name"]} | one["labels"]
        for job in scraping["scrape_configs"]
        for one in job["static_configs"]
        if "labels" in one
    }
    for target in targets(cluster, nodes):
        from_target = {key: value for key, value in given[target.job, target.node].items() if not key.startswith("__")}
        for one in target.series:
            (series,) = encoded([(one.name, from_target | dict(_LABEL.findall(one.labels)), 0.0)], 0)
            yield series[: labels_end(series)]


def samples(pattern: int, first: int, times: range) -> bytes:
    """Return some samples of a series, encoded; ``first`` is the number of the first one. Two patterns change all the time."""
    values = (1000.0 * pattern + (first + number) * pattern * (pattern < 3) for number in range(len(times)))
    return b"".join(_sample(value, time) for value, time in zip(values, times, strict=True))


def _sample(value: float, time: int) -> bytes:
    inside = b"\x09" + struct.pack("<d", value) + b"\x10" + varint(time)
    return b"\x12" + varint(len(inside)) + inside
