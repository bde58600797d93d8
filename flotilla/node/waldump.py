"""What pg_waldump printed of the WAL that a rewind discards: how much of what, so that people know what to look for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

# rmgr: Heap        len (rec/tot):     54/   150, tx:        743, lsn: 0/0305A1B8, prev 0/0305A180, desc: INSERT off 5 ...
_RECORD = re.compile(r"rmgr: (\S+)\s+len .*?tx:\s*(\d+), lsn: ([0-9A-F/]+),.*?desc: (\S+)(.*)")
_RELATION = re.compile(r"blkref #0: rel (\d+/\d+/\d+)")
_ROWS = {"INSERT", "INSERT+INIT", "UPDATE", "HOT_UPDATE", "DELETE", "MULTI_INSERT", "MULTI_INSERT+INIT"}


@dataclass
class Discarded:
    """``records`` of WAL from ``first`` to ``last``, ``commits`` transactions; changes of rows by relation (its file)."""

    records: int = 0
    commits: int = 0
    first: str = ""
    last: str = ""
    rows: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def relations(self) -> tuple[str, ...]:
        """The files of the relations of which rows were changed."""
        return tuple(sorted({relation for relation, _ in self.rows}))

    def add(self, other: Discarded) -> None:
        """Count what comes after it too."""
        self.records, self.commits = self.records + other.records, self.commits + other.commits
        self.first, self.last = self.first or other.first, other.last or self.last
        self.rows += other.rows

    def told(self, names: Mapping[str, str]) -> str:
        """Return it as a sentence; ``names`` are the relations' as far as they are known, by file."""
        if not self.records:
            return "nothing"
        changes = ", ".join(
            f"{count} {kind} in {names.get(relation, relation)}" for (relation, kind), count in sorted(self.rows.items())
        )
        what = f"{self.records} records of WAL from {self.first} to {self.last}, {self.commits} committed transactions"
        return f"{what}: {changes or 'no rows'}"

    def shown(self, names: Mapping[str, str]) -> dict[str, object]:
        """Return it as plain data."""
        rows = [
            {"relation": relation, "name": names.get(relation, ""), "change": kind, "count": count}
            for (relation, kind), count in sorted(self.rows.items())
        ]
        return {"records": self.records, "commits": self.commits, "first": self.first, "last": self.last, "rows": rows}


def discarded(lines: Iterable[str]) -> Discarded:
    """Return what lines of pg_waldump tell; lines that are no records are passed over."""
    found = Discarded()
    for line in lines:
        match = _RECORD.match(line)
        if not match:
            continue
        manager, _, position, change, rest = match.groups()
        found.records += 1
        found.first, found.last = found.first or position, position
        found.commits += manager == "Transaction" and change == "COMMIT"
        relation = _RELATION.search(rest)
        if manager in ("Heap", "Heap2") and change in _ROWS and relation:
            found.rows[relation[1], change.removesuffix("+INIT")] += 1
    return found
