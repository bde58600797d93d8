"""What is in quarantine and is sent to the store again: what is meant, what is sent, and what then remains."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, replace

from flotilla.errors import InvalidInput, Problem
from flotilla.metrics.quarantine import Quarantined, kept
from flotilla.metrics.selectors import Selector, parse_selector
from flotilla.metrics.series import data, labels_end, labels_first, named
from flotilla.metrics.wire import fields
from flotilla.metrics.words import moment

Sample = tuple[str, bytes, bytes]
"""A cluster, the labels of a series and one of its samples, as encoded."""


@dataclass(frozen=True)
class Pick:
    """Which records are meant: those of a cluster, and of series that a selector picks; all where neither is given."""

    cluster: str = ""
    selector: Selector | None = None

    def of(self, records: Iterable[Quarantined]) -> list[Quarantined]:
        """Return the records that are meant, in their order."""
        return [one for one in records if self.cluster in ("", one.cluster) and self._means(one)]

    def _means(self, one: Quarantined) -> bool:
        return self.selector is None or self.selector.picks(named(one.labels))


@dataclass(frozen=True)
class Resent:
    """What became of a cluster's samples that were sent again; ``why`` is the first of the reasons for those refused again."""

    cluster: str
    series: int
    samples: int
    taken: int = 0
    refused: int = 0
    why: str = ""

    def row(self) -> dict[str, str]:
        """Return it as a row of a table; ``unsent`` is what did not come to be sent."""
        counts = {"series": self.series, "samples": self.samples, "taken": self.taken, "refused again": self.refused}
        counts["not sent"] = self.samples - self.taken - self.refused
        return {"cluster": self.cluster, **{name: f"{count:,}" for name, count in counts.items()}, "why": self.why}


def told_sums(found: Iterable[Resent]) -> str:
    """Return in one line what became of all that was sent, or would become."""
    every = list(found)
    samples, taken, refused = (sum(getattr(one, name) for one in every) for name in ("samples", "taken", "refused"))
    told = f"{samples:,} samples of {sum(one.series for one in every):,} series"
    return f"{told}: {taken:,} taken, {refused:,} refused again" if taken or refused else told


def parse_match(text: str, where: str) -> Selector | None:
    """Return the selector that a text writes, None for no text; raises InvalidInput, ``where`` names what holds the text."""
    try:
        found = parse_selector(text) if text else None
        for matcher in found.matchers if found else ():
            re.compile(matcher.value)
    except (ValueError, re.error) as error:
        allowed = f'a PromQL selector such as kube_pod_info{{namespace="shop"}}: {error}'
        raise InvalidInput([Problem(where, "match", text, allowed)]) from None
    return found


def to_send(records: Iterable[Quarantined]) -> Iterator[bytes]:
    """Yield each series of one cluster's records once, with its samples in the order of time, as a store wants them."""
    gathered: defaultdict[bytes, dict[bytes, None]] = defaultdict(dict)
    for one in records:
        gathered[one.labels] |= dict.fromkeys(one.samples)
    for labels, samples in gathered.items():
        ordered: list[bytes] = sorted(samples, key=_time)
        yield labels + b"".join(ordered)


def samples_of(cluster: str, series: Iterable[bytes]) -> set[Sample]:
    """Return the samples of some series of a cluster."""
    found = set[Sample]()
    for one in map(labels_first, series):
        end = labels_end(one)
        found |= {(cluster, one[:end], one[field.begin : field.end]) for field in fields(one, end)}
    return found


def remaining(held: Iterable[Quarantined], taken: Set[Sample], again: Iterable[Quarantined]) -> list[Quarantined]:
    """Return what remains in quarantine of what is held now, some samples having been taken, and some refused ``again``.

    What is not held any more does not come back, and what was refused again stands under its newest reason.
    """
    reasons = {key: (one.status, one.why) for one in again for key in _keys(one)}
    found, moved = list[Quarantined](), set[Sample]()
    for one in held:
        left = {key: reasons.get(key, (one.status, one.why)) for key in _keys(one) if key not in taken}
        moved |= {key for key, reason in left.items() if reason != (one.status, one.why)}
        found.append(_only(one, left.keys() - moved))
    found += [_only(one, moved) for one in again]
    return kept(one for one in found if one.samples)[0]


def rows(records: Iterable[Quarantined]) -> list[dict[str, str]]:
    """Return records as rows of a table, the newest first."""
    return [_row(one) for one in sorted(records, key=lambda one: -one.noted)]


def _row(one: Quarantined) -> dict[str, str]:
    labels = named(one.labels)
    shown = ",".join(f'{name}="{value}"' for name, value in labels.items() if name not in ("__name__", "cluster"))
    times = [datum.time for datum in data(one.series)] or [one.noted]
    return {
        "cluster": one.cluster,
        "series": f"{labels.get('__name__', '')}{{{shown}}}",
        "samples": f"{len(one.samples):,}",
        "from": moment(min(times)),
        "to": moment(max(times)),
        "status": str(one.status),
        "why": one.why,
    }


def _time(sample: bytes) -> int:
    return next((datum.time for datum in data(sample)), 0)


def _keys(one: Quarantined) -> list[Sample]:
    return [(one.cluster, one.labels, sample) for sample in one.samples]


def _only(one: Quarantined, wanted: Set[Sample]) -> Quarantined:
    return replace(one, samples=tuple(key[2] for key in _keys(one) if key in wanted))
