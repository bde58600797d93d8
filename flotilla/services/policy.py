"""What an operator may set about the wiring of services; the defaults are the standard's, or carry their reason."""

from __future__ import annotations

from dataclasses import dataclass, field

from flotilla.services.facts import ImportModel


@dataclass(frozen=True)
class Damping:
    """How long a data path must be dead before that counts, and answer before it counts again. Times in seconds.

    ``failures`` and ``answers`` in a row are asked for besides, so that one slow probe changes nothing. A path that died
    again within ``flap_window`` of its recovery must answer twice as long each time, up to ``recover_at_most``.
    A source is dead only where all its probed endpoints are, and ``witnesses`` of them were probed (or all, if it has
    fewer); else just the dead ones are not ready. ``withdraw_after`` holds while the source's control plane is well (it
    will drop dead pods itself), ``withdraw_when_away_after`` where both signals agree that the source is lost.
    """

    witnesses: int = 3
    failures: int = 2
    not_ready_after: float = 1.0
    withdraw_after: float = 30.0
    withdraw_when_away_after: float = 5.0
    answers: int = 2
    recover_after: float = 2.0
    flap_window: float = 300.0
    recover_at_most: float = 60.0


@dataclass(frozen=True)
class Policy:
    """How services are wired.

    ``imports`` is the import model for exports that name none. ``refused_namespaces`` are never exported from: namespace
    sameness does not hold for them (KEP-1645 advises it). More than ``withdrawal_cap`` exporters withdrawn in one pass
    wait for a person. ``ready_needs_answer``: an import is Ready only once a probe was answered.
    """

    imports: ImportModel = ImportModel.AUTOMATIC
    refused_namespaces: frozenset[str] = frozenset({"default", "kube-system", "kube-public", "kube-node-lease"})
    withdrawal_cap: int = 100
    ready_needs_answer: bool = False
    damping: Damping = field(default_factory=Damping)
