"""The checks of one expression: each takes a part of its tree and yields where something is wrong, and what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from flotilla.dashboards.catalogue import CATALOGUE, looks_counted
from flotilla.dashboards.findings import Rule
from flotilla.dashboards.labels import Known, labels_of
from flotilla.dashboards.promql import (
    KEEPING,
    Aggregate,
    Binary,
    Call,
    Literal,
    Node,
    Selector,
    Subquery,
    children,
    rates,
    walk,
)
from flotilla.dashboards.units import seconds_of

Flaw = tuple[Rule, int, str]
"""What is wrong, where (an offset in the text), and the sentence."""

PER_CLUSTER = frozenset({"node", "instance", "pod", "uid", "container_id", "id"})
"""Labels of things of which two clusters never share one: if two have one of a name, that is chance."""

_COUNTED = frozenset(["rate", "irate", "increase", "resets", "changes", "absent", "absent_over_time", "present_over_time"])
_COUNTED_OK = _COUNTED | {"count_over_time", "timestamp", "count", "group", "count_values"}
_PICKING = frozenset(["topk", "bottomk"])


@dataclass(frozen=True)
class Ground:
    """What the checks know.

    ``known``: metrics with their labels; None: any name is good. ``scrape``: seconds between two scrapes. ``series``: how many
    series each metric has in the store; ``most``: how many an expression may read.
    """

    known: Known | None = field(default_factory=lambda: CATALOGUE)
    scrape: float = 30.0
    series: Mapping[str, int] = field(default_factory=dict)
    most: int = 300_000

    @property
    def labels(self) -> Known:
        """The known metrics; none where any name is good."""
        return self.known or {}


def flaws(root: Node, ground: Ground, *, drawn: bool) -> Iterator[Flaw]:
    """Yield all that is wrong with an expression; ``drawn``: it is asked at each step of a range."""
    for node, above in walk(root):
        match node:
            case Selector():
                yield from _unknown(node, ground)
                yield from _uncounted(node, above)
                yield from _too_short(node, above, ground)
            case Aggregate():
                yield from _merges_clusters(node, ground)
                yield from _absent_labels(node, ground)
                yield from _picks_per_step(node, above, drawn)
            case Binary():
                yield from _joins_across(node, ground)
            case Call():
                yield from _rate_of_gauge(node)
            case Subquery() | Literal():
                pass


def cost(root: Node, series: Mapping[str, int]) -> int:
    """Return how many series an expression reads at most: matchers may make it fewer. Unknown metrics count as none."""
    return sum(series.get(node.name, 0) for node, _ in walk(root) if isinstance(node, Selector))


def _unknown(node: Selector, ground: Ground) -> Iterator[Flaw]:
    if ground.known is None or not node.name:
        return
    if node.name not in ground.known:
        yield Rule.UNKNOWN_METRIC, node.at, f"no metric {node.name} is known{_nearest(node.name, ground.known)}"
        return
    labels = labels_of(node, ground.known)
    for one in node.matchers:
        if one.label != "__name__" and not labels.may_have(one.label):
            told = f"{node.name} has no label {one.label}; it has {_listed(labels.names)}"
            yield Rule.UNKNOWN_LABEL, node.at, told


def _uncounted(node: Selector, above: tuple[Node, ...]) -> Iterator[Flaw]:
    around = {one.function if isinstance(one, Call) else one.op for one in above if isinstance(one, Call | Aggregate)}
    if looks_counted(node.name) and not around & _COUNTED_OK:
        told = f"{node.name} counts up for ever: its value says when it began, not what happens; take rate or increase of it"
        yield Rule.COUNTER_WITHOUT_RATE, node.at, told


def _too_short(node: Selector, above: tuple[Node, ...], ground: Ground) -> Iterator[Flaw]:
    if not node.range or "$" in node.range or not any(map(rates, above)):
        return
    least = 4 * ground.scrape
    if seconds_of(node.range) < least:
        told = f"[{node.range}] holds fewer than four scrapes of {ground.scrape:g} s: one that is late leaves a hole; take"
        yield Rule.SHORT_RANGE, node.at, f"{told} {least:g} s or more, or $__rate_interval"


def _merges_clusters(node: Aggregate, ground: Ground) -> Iterator[Flaw]:
    """Yield aggregations that make one of things that two clusters happen to give one name."""
    inner, outer = labels_of(node.operand, ground.labels), labels_of(node, ground.labels)
    if node.op in KEEPING or not inner.has_cluster or outer.has_cluster:
        return
    mixed = sorted(outer.names & PER_CLUSTER)
    if mixed:
        told = f"{node.op} by {_listed(outer.names)} makes one of things with one {mixed[0]} in two clusters; add cluster"
        yield Rule.FORGETS_CLUSTER, node.at, told
    elif outer.names and not _is_per_cluster(node.operand, ground):
        told = (
            f"{node.op} by {_listed(outer.names)} of raw series counts what is scraped twice twice; aggregate by cluster first"
        )
        yield Rule.FORGETS_CLUSTER, node.at, told


def _is_per_cluster(node: Node, ground: Ground) -> bool:
    """Tell whether all series beneath a node went through an aggregation that keeps cluster, here or when recorded."""
    if isinstance(node, Selector):
        return ":" in node.name
    if isinstance(node, Aggregate) and node.op not in KEEPING and labels_of(node, ground.labels).has_cluster:
        return True
    return all(_is_per_cluster(one, ground) for one in children(node))


def _joins_across(node: Binary, ground: Ground) -> Iterator[Flaw]:
    """Yield joins of which a side, or the matching, has lost cluster while another has it."""
    left, right = labels_of(node.left, ground.labels), labels_of(node.right, ground.labels)
    if left.scalar or right.scalar or node.op == "or" or not (left.has_cluster or right.has_cluster):
        return
    lost = left.has_cluster != right.has_cluster
    if node.on is not None and "cluster" not in node.on:
        # A total over all clusters may be held against each of them, but not by what clusters have by chance in common.
        if not lost or node.on & PER_CLUSTER:
            told = f"on ({', '.join(sorted(node.on))}) matches things of one name in two clusters; write on (cluster, ...)"
            yield Rule.FORGETS_CLUSTER, node.at, told
    elif node.ignoring is not None and "cluster" in node.ignoring:
        if not lost:
            yield Rule.FORGETS_CLUSTER, node.at, "ignoring (cluster) matches things of one name in two clusters"
    elif lost:
        side = "left" if right.has_cluster else "right"
        yield (
            Rule.FORGETS_CLUSTER,
            node.at,
            f"the {side} side of {node.op} has no cluster, so that nothing matches; keep it there",
        )


def _absent_labels(node: Aggregate, ground: Ground) -> Iterator[Flaw]:
    inner = labels_of(node.operand, ground.labels)
    for label in sorted((node.by or frozenset()) | (node.without or frozenset())):
        if not inner.may_have(label):
            told = f"{node.op} names the label {label}, which nothing in it has; there are {_listed(inner.names)}"
            yield Rule.UNKNOWN_LABEL, node.at, told


def _picks_per_step(node: Aggregate, above: tuple[Node, ...], drawn: bool) -> Iterator[Flaw]:
    """Yield topk in a picture, unless it looks at the range's end or takes one of several that say the same."""
    one_of_many = (
        isinstance(node.parameter, Literal) and node.parameter.value == 1 and labels_of(node, {}).has_cluster and node.by
    )
    if not drawn or node.op not in _PICKING or one_of_many or _is_pinned(node.operand):
        return
    if not any(isinstance(one, Subquery) and one.pinned for one in above):
        told = f"{node.op} picks anew at each step of the picture; a panel of kind topN ranks on the range"
        yield Rule.TOPK_PER_STEP, node.at, told


def _is_pinned(node: Node) -> bool:
    if isinstance(node, Selector | Subquery) and node.pinned:
        return True
    beneath = children(node)
    return bool(beneath) and all(_is_pinned(one) or isinstance(one, Literal) for one in beneath)


def _rate_of_gauge(node: Call) -> Iterator[Flaw]:
    if not rates(node):
        return
    inner = node.arguments[0]
    if isinstance(inner, Subquery):
        if any(isinstance(one, Aggregate) for one, _ in walk(inner)):
            told = f"{node.function} of an aggregation takes a counter's restart for a fall of the sum; aggregate the rates"
            yield Rule.RATE_OF_GAUGE, node.at, told
    elif isinstance(inner, Selector) and inner.name and not looks_counted(inner.name):
        told = f"{inner.name} is no counter by its name; for a gauge take deriv, delta or its mean"
        yield Rule.RATE_OF_GAUGE, node.at, told


def _nearest(name: str, known: Known) -> str:
    """Return a hint at a known metric that begins alike."""
    parts = name.split("_")
    for count in range(len(parts), 1, -1):
        found = sorted(one for one in known if one.startswith("_".join(parts[:count])))
        if found:
            return f"; there is {found[0]}"
    return ""


def _listed(names: frozenset[str]) -> str:
    return ", ".join(sorted(names)) or "no labels"
