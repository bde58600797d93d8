"""What rules would have found, had the samples been there in time that came late.

A rule may read what other rules recorded while samples were missing, and that cannot be trusted afterwards: those rules are put
into its expression instead of their names. What it finds is noted, and never starts anything.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from flotilla.dashboards.answers import Series, series
from flotilla.dashboards.promql import NotPromql, parse, rewritten, selectors
from flotilla.dashboards.rules import Group, Rule
from flotilla.dashboards.tokens import Kind, Place, places
from flotilla.dashboards.units import seconds_of
from flotilla.metrics.alerts import VERDICT, Sense
from flotilla.metrics.words import moment

FRESH = "flotilla:cluster_fresh:bool"  # what deployments/rules/freshness.yaml records; in hindsight all that is there is fresh
OWN = "flotilla_"  # what the collector says of itself was said in time, and stays as it was
STEP = 15  # seconds between two evaluations of a group that names no interval
LOOKBACK = 300  # seconds for which PromQL has a sample count, unless another comes
LONGEST = 3600  # seconds: a rule that looks back further is evaluated for no longer than this after the last late sample


@dataclass(frozen=True)
class Past:
    """A rule as it is asked about the past; ``step`` in seconds, ``reach`` for how many after a sample it sees that sample."""

    rule: Rule
    expr: str
    step: int
    reach: int

    def labels(self, found: Series) -> dict[str, str]:
        """Return the labels of what the rule makes of a series; templates of labels are not filled in."""
        plain = {name: value for name, value in self.rule.labels.items() if "{{" not in value}
        name = {"alertname": self.rule.name} if self.rule.alert else {}
        return {**dict(found.labels), **plain, **name}


@dataclass(frozen=True)
class Outbreak:
    """An alert that would have fired: its labels, ``alertname`` among them, and from when to when, in seconds since 1970."""

    labels: Mapping[str, str]
    begin: float
    end: float

    def __str__(self) -> str:
        about = ", ".join(f"{name}={value}" for name, value in sorted(self.labels.items()) if name != "alertname")
        span = f"at {moment(round(1000 * self.begin))}, until {moment(round(1000 * self.end))}"
        return f"{self.labels.get('alertname', '')} ({about}) would have fired {span}"


@dataclass(frozen=True)
class Asked:
    """What is asked about the past, and the rules that cannot be, each with the reason."""

    past: tuple[Past, ...]
    left_out: tuple[str, ...]


def asked(groups: Iterable[Group], clusters: Collection[str]) -> Asked:
    """Return what rules are asked where samples came late of a time of which some clusters' samples are there.

    Those that say that something was not known at the time are not asked: that is no news afterwards.
    """
    pairs = [(group, rule) for group in groups for rule in group.rules if rule.record != FRESH]
    recorded = _recorded(rule for _, rule in pairs) | {FRESH: _fresh(clusters)}
    past, left_out = list[Past](), list[str]()
    for group, rule in pairs:
        step = round(group.interval) or STEP
        try:
            expr = inlined(rule.expr, {name: text for name, text in recorded.items() if name != rule.record}, step)
        except NotPromql as error:
            left_out.append(f"{rule.name}: {error}")
            continue
        if _reads_members(expr) and rule.labels.get(VERDICT) != Sense.UNKNOWN:
            past.append(Past(rule, expr, step, _reach(expr)))
    return Asked(tuple(past), tuple(left_out))


def inlined(text: str, recorded: Mapping[str, str], step: int = STEP) -> str:
    """Return an expression with what is recorded by rules put in for their names; raises NotPromql where that can't be said."""

    def put_in(place: Place) -> str:
        whole = text[place.start : place.end]
        if place.kind is not Kind.SELECTOR or place.text not in recorded:
            return whole
        if place.braces and whole[place.braces[0] - place.start : place.braces[1] - place.start].strip("{} "):
            raise NotPromql(f"of {place.text}, which is recorded, it reads a part: {whole}")
        others = {name: expr for name, expr in recorded.items() if name != place.text}
        steps = f"{text[place.range[0] : place.range[1] - 1]}:{step}s]" if place.range else ""
        return f"({inlined(recorded[place.text], others, step)}){steps}"

    found = rewritten(text, put_in)
    parse(found)
    return found


def outbreaks(past: Past, found: Iterable[Series]) -> list[Outbreak]:
    """Return when an alert would have fired, from the answer to its expression over a range."""
    return [
        Outbreak(past.labels(one), begin + past.rule.held, end)
        for one in found
        for begin, end in _stretches([time for time, _ in one.points], past.step)
        if end - begin >= past.rule.held
    ]


def unheard(would: Iterable[Outbreak], fired: Iterable[Series], step: int) -> list[Outbreak]:
    """Return those that did not fire at the time, going by what ``ALERTS`` recorded of it."""
    live = [(_without(dict(one.labels)), [time for time, _ in one.points]) for one in fired]
    return [one for one in would if not any(_is_same(one, labels, times, step) for labels, times in live)]


def absent(past: Past, found: Iterable[Series], there: Iterable[Series], late: Collection[str]) -> Iterator[Series]:
    """Yield what a rule did not record of clusters whose samples came late: series with all their labels and new points.

    What it did record stays: of a time for which there is a sample a store keeps that one.
    """
    known = {one.labels: [time for time, _ in one.points] for one in there}
    for one in found:
        labels = past.labels(one)
        times = known.get(series(labels, ()).labels, [])
        points = [(time, value) for time, value in one.points if not any(abs(time - other) < past.step for other in times)]
        if points and labels.get("cluster") in late:
            yield Series(tuple(sorted({**labels, "__name__": past.rule.name}.items())), tuple(points))


def _is_same(would: Outbreak, labels: Mapping[str, str], times: Sequence[float], step: int) -> bool:
    return _without(would.labels) == labels and any(would.begin - step <= time <= would.end + step for time in times)


def _without(labels: Mapping[str, str]) -> dict[str, str]:
    """Return an alert's labels but for those that only an evaluator adds."""
    return {name: value for name, value in labels.items() if name not in ("alertstate", "alertgroup")}


def _recorded(rules: Iterable[Rule]) -> dict[str, str]:
    found: dict[str, str] = {}
    for rule in rules:
        if rule.record:
            found[rule.record] = f"{found[rule.record]} or ({rule.expr})" if rule.record in found else f"({rule.expr})"
    return found


def _fresh(clusters: Collection[str]) -> str:
    each = [f'label_replace(vector(1), "cluster", "{one}", "", "")' for one in sorted(clusters)]
    return " or ".join(each) or "vector(1) < 0"


def _reads_members(expr: str) -> bool:
    return any(not one.name.startswith(OWN) for one in selectors(expr))


def _reach(expr: str) -> int:
    spans = [expr[place.range[0] + 1 : place.range[1] - 1] for place in places(expr) if place.range]
    spans += [place.text.strip("[]").split(":")[0] for place in places(expr) if place.kind is Kind.SUBQUERY]
    return min(LONGEST, LOOKBACK + max(map(_seconds, spans), default=0))


def _seconds(duration: str) -> int:
    try:
        return seconds_of(duration.strip())
    except ValueError:
        return LONGEST


def _stretches(times: Sequence[float], step: int) -> Iterator[tuple[float, float]]:
    """Yield from when to when there was a point at every step."""
    begin = before = times[0] if times else 0.0
    for time in times[1:]:
        if time - before > 1.5 * step:
            yield begin, before
            begin = time
        before = time
    if times:
        yield begin, before
