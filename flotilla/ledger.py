"""The ledger of a client outside all sites: what it was promised, against what is there afterwards.

One line an attempt, in JSON: the id that the client chose, when it sent (seconds since 1970), when it was answered (null:
never), the answer's status (0: none) and who answered. An attempt is acknowledged by 201 (created) or 200 (was there already).
Anything else is in doubt, and is tried again with the same id.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

CREATED, THERE = 201, 200
NO_ANSWER = 0


@dataclass(frozen=True)
class Attempt:
    """One try to place an order; ``answered`` None and ``status`` 0 where no answer came; ``site`` is the address asked."""

    id: str
    sent: float
    answered: float | None
    status: int
    site: str = ""

    @property
    def is_acknowledged(self) -> bool:
        """Whether the client may rely on the order from now on."""
        return self.status in (CREATED, THERE)

    @property
    def line(self) -> str:
        """The attempt as a line of the ledger."""
        return json.dumps(asdict(self), separators=(",", ":")) + "\n"


@dataclass(frozen=True)
class Outage:
    """A time without an acknowledgement: from the last one before to the first one after, None if none came any more."""

    began: float
    ended: float | None
    seconds: float


@dataclass(frozen=True)
class Verdict:
    """What became of the promises. ``lost``: acknowledged and not there. ``duplicated``: there twice, or created twice.

    ``unacknowledged``: there though never promised, which is allowed: the answer was lost, or the commit was in doubt.
    ``open``: neither promised nor there. Latencies in seconds, of acknowledged attempts.
    """

    attempts: int
    acknowledged: int
    lost: tuple[str, ...]
    duplicated: tuple[str, ...]
    unacknowledged: tuple[str, ...]
    open: tuple[str, ...]
    longest_outage: Outage | None
    median_latency: float | None
    p99_latency: float | None

    @property
    def is_clean(self) -> bool:
        """Whether every promise was kept, once."""
        return not self.lost and not self.duplicated

    def __str__(self) -> str:
        outage = self.longest_outage
        lines = [
            f"{self.acknowledged} acknowledged, {self.attempts} attempts: {len(self.lost)} lost, {len(self.duplicated)} twice",
            f"{len(self.unacknowledged)} there without an acknowledgement, {len(self.open)} neither",
            *(f"lost: {one}" for one in self.lost[:10]),
            *(f"twice: {one}" for one in self.duplicated[:10]),
        ]
        if outage:
            over = "" if outage.ended is not None else ", and was not over at the end"
            lines.append(f"longest time without an acknowledgement: {outage.seconds:.3f} s{over}")
        if self.median_latency is not None and self.p99_latency is not None:
            lines.append(f"latency of what was acknowledged: median {_ms(self.median_latency)}, p99 {_ms(self.p99_latency)}")
        return "\n".join(lines)


def parse_ledger(text: str) -> list[Attempt]:
    """Return the attempts of a ledger; a last line that was cut off when the client died is left out.

    Raises ValueError naming the line where any other one is none of a ledger.
    """
    lines = text.split("\n")
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            if line:
                found.append(_attempt(json.loads(line)))
        except (ValueError, TypeError, KeyError) as error:
            if number < len(lines):
                raise ValueError(f"line {number} of the ledger is not an attempt ({error!r}): {line[:100]}") from None
    return found


def judge(attempts: Sequence[Attempt], present: Iterable[str]) -> Verdict:
    """Return what became of the promises, given the ids of all orders that are there (each as often as it is there)."""
    times = Counter(present)
    asked = dict.fromkeys(one.id for one in attempts)
    promised = {one.id for one in attempts if one.is_acknowledged}
    created = Counter(one.id for one in attempts if one.status == CREATED)
    latencies = sorted(one.answered - one.sent for one in attempts if one.is_acknowledged and one.answered is not None)
    return Verdict(
        attempts=len(attempts),
        acknowledged=len(promised),
        lost=tuple(one for one in asked if one in promised and not times[one]),
        duplicated=tuple(one for one in asked if times[one] > 1 or created[one] > 1),
        unacknowledged=tuple(one for one in asked if one not in promised and times[one]),
        open=tuple(one for one in asked if one not in promised and not times[one]),
        longest_outage=max(outages(attempts), key=lambda outage: outage.seconds, default=None),
        median_latency=_quantile(latencies, 0.5),
        p99_latency=_quantile(latencies, 0.99),
    )


def outages(attempts: Sequence[Attempt], longer_than: float = 0.0) -> list[Outage]:
    """Return the times without an acknowledgement that lasted longer, oldest first; seconds.

    After the last acknowledgement it counts only while the client still tried.
    """
    acknowledged = sorted(one.answered for one in attempts if one.is_acknowledged and one.answered is not None)
    if not acknowledged:
        return []
    gaps = [Outage(before, after, after - before) for before, after in pairwise(acknowledged)]
    found = [gap for gap in gaps if gap.seconds > longer_than]
    last = acknowledged[-1]
    tried = max((one.answered if one.answered is not None else one.sent for one in attempts), default=last)
    return found + ([Outage(last, None, tried - last)] if tried - last > longer_than else [])


def _attempt(body: dict[str, Any]) -> Attempt:
    answered = body["answered"]
    return Attempt(
        str(body["id"]),
        float(body["sent"]),
        None if answered is None else float(answered),
        int(body["status"]),
        str(body.get("site", "")),
    )


def _quantile(ordered: Sequence[float], share: float) -> float | None:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.1f} ms"
