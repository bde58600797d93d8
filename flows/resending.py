"""What the store once refused is sent to it again, while the collector goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from flotilla.errors import InvalidInput, Permanent, Problem, Transient
from flotilla.fleet import Fleet
from flotilla.metrics import quarantine
from flotilla.metrics.batches import batches
from flotilla.metrics.quarantine import Quarantined
from flotilla.metrics.resending import Pick, Resent, Sample, parse_match, samples_of, to_send
from tasks.doors import now
from tasks.progress import QuarantineFile
from tasks.store import Store, Written, store_of


def pick_of(cluster: str, match: str, known: Sequence[str] = ()) -> Pick:
    """Return which records a person means; raises InvalidInput where there is no such cluster, or ``match`` is no selector."""
    if cluster and known and cluster not in known:
        raise InvalidInput([Problem("quarantine", "cluster", cluster, "one of " + ", ".join(known))])
    return Pick(cluster, parse_match(match, "quarantine"))


def quarantine_in(folder: str) -> QuarantineFile:
    """Return the quarantine of a collector's folder; raises InvalidInput where there is no such folder."""
    if not Path(folder).is_dir():
        raise InvalidInput([Problem("quarantine", "state", folder, "the folder in which a collector keeps what it collected")])
    return QuarantineFile(Path(folder))


def planned(records: Sequence[Quarantined]) -> list[Resent]:
    """Return what would be sent, by cluster."""
    found = []
    for name in dict.fromkeys(one.cluster for one in records):
        own = [one for one in records if one.cluster == name]
        held = samples_of(name, (one.series for one in own))
        found.append(Resent(name, len({one.labels for one in own}), len(held)))
    return found


def send_again(fleet: Fleet, held: QuarantineFile, pick: Pick) -> list[Resent]:
    """Have the store take what it can of what is picked; the rest stays. Returns what became of it, by cluster.

    Raises Transient or Permanent where the store takes nothing now; what it had taken before is noted.
    """
    records = pick.of(held.records())
    errand = _Errand(fleet, held)
    for plan in planned(records):
        errand.send(plan, [one for one in records if one.cluster == plan.cluster])
    return errand.done


class _Errand:
    """One sending. What is taken is noted once for each cluster: the file of a full quarantine is large."""

    def __init__(self, fleet: Fleet, held: QuarantineFile) -> None:
        self._store: Store = store_of(fleet.metrics.store)
        self._batch, self._held = fleet.metrics.store.batch_bytes, held
        self.done: list[Resent] = []

    def send(self, plan: Resent, records: Sequence[Quarantined]) -> None:
        taken, again = set[Sample](), list[Quarantined]()
        try:
            for batch in batches(to_send(records), self._batch):
                refused = self._written(plan.cluster, batch)
                again += refused
                taken |= samples_of(plan.cluster, batch) - samples_of(plan.cluster, (one.series for one in refused))
        except (Transient, Permanent) as error:
            told = f"{error}; of {plan.cluster} {len(taken):,} of {plan.samples:,} samples were taken before, the rest is kept"
            raise (Transient if isinstance(error, Transient) else Permanent)(told) from None
        finally:
            self._held.settle(taken, again)
        count = sum(len(one.samples) for one in again)
        self.done.append(replace(plan, taken=len(taken), refused=count, why=again[0].why if again else ""))

    def _written(self, cluster: str, batch: Sequence[bytes]) -> list[Quarantined]:
        written = Written()
        self._store.write(batch, written)
        return quarantine.quarantined(cluster, written.refusals, now())
