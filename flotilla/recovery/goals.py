"""What a recovery waits for: facts about a site, one frozen value each.

``Rejoin``, ``Quarantined`` and ``Served`` are more than waited for: they are resolved to the acts that are due (``standing``).
"""

from __future__ import annotations

from dataclasses import dataclass

from flotilla.recovery.acts import AGENT, APPLICATION, DATABASE, LEASE, SERVING, TRAFFIC, Goal


@dataclass(frozen=True)
class Rejoin(Goal):
    """The site follows ``upstream``, whatever that takes: told to, started, rewound or seeded anew."""

    kind = "rejoin"
    upstream: str = ""


@dataclass(frozen=True)
class CaughtUp(Goal):
    """The site has replayed all that ``origin``, which takes no more writes, has written."""

    kind = "caught_up"
    origin: str = ""


@dataclass(frozen=True)
class StopProved(Goal):
    """The site was stopped in order, and ``receiver`` has its shutdown checkpoint and all before it."""

    kind = "stop_proved"
    receiver: str = ""


@dataclass(frozen=True)
class Fenced(Goal):
    """The site acknowledges no more writes: stopped, or it needs the word of ``target``, or ``wait`` seconds are over."""

    kind = "fenced"
    looks = (AGENT, DATABASE, LEASE)
    target: str = ""
    wait: float = 13.0


@dataclass(frozen=True)
class MostAdvanced(Goal):
    """No site that ``origin`` may have had an acknowledgement from has more WAL than this one.

    With ``proven`` all of those have to be seen, and the primary to have waited for them; without, only those that can be, and
    no more may be missing than ``at_most`` bytes, which people agreed to lose (``acts.Promote``).
    """

    kind = "most_advanced"
    looks = (DATABASE, LEASE)
    origin: str = ""
    proven: bool = True
    at_most: int | None = None


@dataclass(frozen=True)
class Following(Goal):
    """The site moves along ``upstream``'s timeline: seen by its position, never by a state."""

    kind = "following"
    upstream: str = ""


@dataclass(frozen=True)
class Stable(Goal):
    """The site was at most ``lag`` bytes behind ``upstream`` for the last ``seconds``, as every sample of them says."""

    kind = "stable"
    upstream: str = ""
    seconds: float = 600.0
    lag: int = 16 << 20


@dataclass(frozen=True)
class InSync(Goal):
    """The site's commits wait for these standbys, and they are synchronous."""

    kind = "in_sync"
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Writable(Goal):
    """The site is the primary of the run's epoch and takes writes."""

    kind = "writable"


@dataclass(frozen=True)
class Ready(Goal):
    """The application runs at the site, whole."""

    kind = "ready"
    looks = (APPLICATION,)


@dataclass(frozen=True)
class Quarantined(Goal):
    """The site's database is no second primary: it is stopped, or follows, or its agent has not answered."""

    kind = "quarantined"


@dataclass(frozen=True)
class Verified(Goal):
    """The site is the one writable primary, and a majority of the DNS servers and of the leases say so.

    ``addresses`` has the address of each authorised site: DNS answers with these and no others.
    """

    kind = "verified"
    looks = (AGENT, DATABASE, LEASE, TRAFFIC)
    authorised: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Served(Goal):
    """Users are served at the site, or at another one of those that its city's traffic goes to: asked there as DNS asks.

    Where the application is not wanted at the site, as its API server was away when it was to be, that is made up for.
    """

    kind = "served"
    looks = (APPLICATION, SERVING)
    authorised: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    port: int = 8080
