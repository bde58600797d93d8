"""What the suite's report says: one row per spec, a table, and one object with the figures.

The report is Ginkgo's JSON report: https://onsi.github.io/ginkgo/#generating-machine-readable-reports
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from rich.table import Table

SPECS = 27  # of the suite for v1beta1; fewer or more is another suite, and says nothing about this one
PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


@dataclass(frozen=True)
class Row:
    """One spec: whether the standard requires it, where it stands in the suite, what came of it."""

    required: bool
    file: str
    line: int
    text: str
    result: str
    seconds: float
    why: str = ""


def rows(report: Any) -> list[Row]:
    """Read the specs off a report, required ones first, then in the order of the suite's files."""
    found = [_row(spec) for suite in report for spec in suite.get("SpecReports") or () if spec["LeafNodeType"] == "It"]
    return sorted(found, key=lambda row: (not row.required, row.file, row.line, row.text))


def complaint(report: Any) -> str:
    """Say why a report is no proof of conformance, or nothing if it is one."""
    every = rows(report)
    if len(every) != SPECS:
        return f"the suite has {len(every)} specs, expected {SPECS}: it is not the suite of v1beta1, or it did not start"
    told = Counter(row.result for row in every)
    if told[PASSED] != SPECS:
        return f"{told[FAILED]} of {SPECS} specs failed, {told[SKIPPED]} were skipped"
    broken = [_around(suite) for suite in report if not suite["SuiteSucceeded"]]
    return f"every spec passed, but the suite did not: {'; '.join(broken)}" if broken else ""


def table(every: Sequence[Row]) -> Table:
    """Show every spec with its result and how long it took."""
    made = Table(title=f"{len(every)} specs", show_lines=False)
    for column in ("#", "", "spec", "result", "seconds"):
        made.add_column(column, justify="right" if column in ("#", "seconds") else "left")
    for number, row in enumerate(every, 1):
        text = f"{row.text}\n{row.why}" if row.why else row.text
        made.add_row(str(number), "required" if row.required else "optional", text, row.result, f"{row.seconds:.1f}")
    return made


def figures(report: Any) -> dict[str, Any]:
    """Return the counts and the seconds, for other programs."""
    every = rows(report)
    told = Counter(row.result for row in every)
    counts: dict[str, Any] = {result: told[result] for result in (PASSED, FAILED, SKIPPED)}
    counts["seconds"] = round(sum(suite["RunTime"] for suite in report) / 1e9, 1)
    return counts | {"not_passed": [row.text for row in every if row.result != PASSED]}


def _row(spec: Any) -> Row:
    place = spec["LeafNodeLocation"]
    labels = [*(spec.get("LeafNodeLabels") or ()), *_flat(spec.get("ContainerHierarchyLabels") or ())]
    texts = [*(spec.get("ContainerHierarchyTexts") or ()), spec["LeafNodeText"]]
    why = str((spec.get("Failure") or {}).get("Message", "")).strip()
    return Row(
        required="Required" in labels,
        file=PurePath(place["FileName"]).name,
        line=place["LineNumber"],
        text=" ".join(text for text in texts if text),
        result=_result(spec["State"]),
        seconds=spec["RunTime"] / 1e9,
        why=why.partition("\n")[0],
    )


def _result(state: str) -> str:
    """Return one of three: a spec that panicked, timed out or was interrupted has failed."""
    if state == PASSED:
        return PASSED
    return SKIPPED if state in (SKIPPED, "pending") else FAILED


def _flat(lists: Sequence[Sequence[str] | None]) -> list[str]:
    return [one for each in lists for one in each or ()]


def _around(suite: Any) -> str:
    """Say what failed outside of the specs."""
    told = [str(spec["Failure"].get("Message", "")) for spec in suite.get("SpecReports") or () if spec.get("Failure")]
    return "; ".join([*(suite.get("SpecialSuiteFailureReasons") or ()), *told]) or "no reason given"
