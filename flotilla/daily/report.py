"""The report put together from the store's answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flotilla.daily.applications import Application, applications
from flotilla.daily.asked import Ask, Period, Replies
from flotilla.daily.quality import Quality, qualities
from flotilla.daily.seeing import Sight, clusters_of, listed, series_of, sight, silent
from flotilla.dashboards.answers import Answer, Reply, Series
from flotilla.dashboards.coverage import ClusterState, cluster_states, watermarks_of
from flotilla.dashboards.headroom import Headroom, Holds, Move, headroom, rooms_of, top_movers

NAMED = 5  # applications that a finding names


@dataclass(frozen=True)
class Ground:
    """What the fleet file says: the clusters, which is production, seconds between two looks and that a clock may be off."""

    clusters: tuple[str, ...]
    production: str
    beat: float
    tolerance: float


@dataclass(frozen=True)
class Moves:
    """What moved most, of what the clusters that ``seen`` covers use: ``what`` it is, and its unit."""

    what: str
    unit: str
    seen: Sight
    moves: tuple[Move, ...]


@dataclass(frozen=True)
class Lines:
    """Numbers over the period, by cluster; where a cluster has no point, nobody knows."""

    title: str
    unit: str
    seen: Sight
    series: tuple[Series, ...]


@dataclass(frozen=True)
class Report:
    """A report; each part says which clusters it covers. ``silence`` is why the store answered nothing at all, if so."""

    period: Period
    ground: Ground
    states: tuple[ClusterState, ...]
    deployed: tuple[Sight, tuple[Application, ...]]
    falls: tuple[Headroom, ...]
    moves: tuple[Moves, ...]
    told: tuple[Sight, tuple[Quality, ...]]
    lines: tuple[Lines, ...]
    warnings: tuple[str, ...] = ()
    silence: str = ""

    def findings(self) -> tuple[str, ...]:
        """Return what a person should know, in the order of how much it matters."""
        silent = [f"{name}: {reason}: what runs there is unknown" for name, reason in self.deployed[0].unknown.items()]
        production = [one.sentence() for one in self.falls if one.lost == self.ground.production]
        others = [one.sentence() for one in self.falls if one.lost != self.ground.production and one.holds is not Holds.YES]
        quality = [text for one in self.told[1] for text in one.findings(self.ground.tolerance)]
        warned = [f"the store warned: {one}" for one in self.warnings]
        return (*silent, *production, *others, *self._of_applications(), *quality, *warned)

    def _of_applications(self) -> list[str]:
        found = self.deployed[1]
        kinds = {
            "lack replicas": [one for one in found if one.lacks],
            "do not run the same images everywhere": [one for one in found if one.skewed],
            "changed": [one for one in found if one.changed],
        }
        return [f"{_counted(ones, len(found))} {what}" for what, ones in kinds.items() if ones]


def report(ground: Ground, period: Period, replies: Replies) -> Report:
    """Return the report of a period, from what the store answered."""
    states = cluster_states(ground.clusters, watermarks_of(replies[Ask.WATERMARKS]), period.end)
    view = _View(ground, states, replies)
    deployed = view.sight("its Deployments", Ask.DESIRED, Ask.SEEN)
    told = view.sight("what the collector tells of it", Ask.LAG, own=True)
    memory, cpu = (Ask.MEMORY_BEFORE, Ask.MEMORY), (Ask.CPU_BEFORE, Ask.CPU)
    return Report(
        period,
        ground,
        states,
        (deployed, applications(view.names, deployed, replies)),
        view.falls(),
        (view.moves("CPU by namespace", "cores", cpu), view.moves("Memory by namespace", "GiB", memory)),
        (told, qualities(states, replies, period, ground.beat)),
        (view.lines("Replicas available", "", Ask.AVAILABLE_LINES), view.lines("CPU used", "cores", Ask.CPU_LINES)),
        replies.warnings(),
        replies.silence(),
    )


@dataclass(frozen=True)
class _View:
    """What the store answered, and how recent that is."""

    ground: Ground
    states: tuple[ClusterState, ...]
    replies: Replies

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(one.cluster for one in self.states)

    def sight(self, what: str, *asks: Ask, own: bool = False) -> Sight:
        """Return the clusters that are seen in all of some answers; ``own``: the collector's, which tell of silent ones too."""
        failure = self.replies.failure(*asks)
        reasons = dict.fromkeys(self.names, failure) if own or failure else silent(self.states)
        return sight(reasons, clusters_of(*(self.replies[ask] for ask in asks)), what)

    def falls(self) -> tuple[Headroom, ...]:
        reasons = {name: why for name, why in silent(self.states).items() if why}
        rooms = rooms_of(self.ground.clusters, self.replies[Ask.ALLOCATABLE], self.replies[Ask.REQUESTED], reasons)
        return tuple(headroom(rooms, name) for name in self.ground.clusters)

    def moves(self, what: str, unit: str, asks: tuple[Ask, Ask]) -> Moves:
        """Return what moved; a cluster of which nobody knows then or now has not moved to or from nothing."""
        seen = self.sight("this then and now", *asks)
        before, now = (_only(self.replies[ask], seen) for ask in asks)
        return Moves(what, unit, seen, top_movers(before, now))

    def lines(self, title: str, unit: str, ask: Ask) -> Lines:
        found = {one.get("cluster"): one for one in series_of(self.replies[ask])}
        return Lines(title, unit, self.sight("this", ask), tuple(found[name] for name in self.names if name in found))


def _only(reply: Reply, seen: Sight) -> Reply:
    return Answer(tuple(one for one in series_of(reply) if one.get("cluster") in seen.covers))


def _counted(ones: Sequence[Application], of: int) -> str:
    names = [f"{one.namespace}/{one.name}" for one in ones[:NAMED]]
    more = [f"{len(ones) - NAMED} more"] if len(ones) > NAMED else []
    return f"{len(ones)} of {of} applications ({listed([*names, *more])})"
