"""What an agent is made of besides its database: its site's DNS server, and who may break the glass."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import TypeGuard

from flotilla.errors import Refused
from flotilla.fleet import Cluster
from flotilla.node.config import AgentConfig
from flotilla.node.traffic import Traffic
from flotilla.recovery.approvals import APPROVE, LIFETIME, SKEW
from flotilla.recovery.approvals import Verify as Claims
from flotilla.traffic.config import ExternalDnsTraffic
from flows.agent import Verify, nobody
from tasks.clusters import connect
from tasks.external_dns import ExternalDns
from tasks.powerdns import of_site
from tasks.signing import verifier

GLASS = "glass"


def traffic_of(config: AgentConfig) -> Traffic | None:
    """Return the site's DNS, None where the agent's file names none; raises Permanent where its key or cluster is not known."""
    if config.traffic:
        return of_site(config.site, config.traffic)
    return _external(config.site, config.external_dns) if config.external_dns else None


def _external(site: str, said: ExternalDnsTraffic) -> ExternalDns:
    reached = {"file": str(said.kubeconfig), "context": said.context}
    cluster = Cluster.model_validate(
        {"name": site, "role": "remote", "site": {"name": site, "city": "none"}, "kubeconfig": reached}
    )
    return ExternalDns(connect(cluster), said.zone, said.namespace, said.name)


def glass_of(config: AgentConfig) -> Verify:
    """Return what tells who, of the people whom the agent's file names, agreed to break the glass for a run.

    Signed as ``flotilla recover approve`` signs. What is not theirs, not of this run, too old or of the future counts for
    nothing; raises Refused with why where fewer than two people are left.
    """
    if not config.approvers:
        return nobody
    claims_of = verifier(config.approvers)

    def verify(tokens: Sequence[str], epoch: int, run: str) -> Sequence[str]:
        names, wrong = set[str](), list[str]()
        for token in tokens:
            try:
                names.add(_agreed(claims_of, token, run))
            except Refused as error:
                wrong.append(str(error))
        if wrong and len(names) < 2:
            counted = f"these are approvals of {', '.join(sorted(names)) or 'nobody'}"
            raise Refused(f"epoch {epoch} of run {run}: two different people break the glass; {counted}; {'; '.join(wrong)}")
        return sorted(names)

    return verify


def _agreed(claims_of: Claims, token: str, run: str) -> str:
    try:
        said = claims_of(token)
    except ValueError as error:
        raise Refused(f"an approval does not hold: {error}") from None
    wanted = {"gate": GLASS, "run": run, "decision": APPROVE}
    if wrong := [f"{name} {said.get(name)!r}" for name, value in wanted.items() if said.get(name) != value]:
        raise Refused(f"an approval is of something else: {', '.join(wrong)}")
    now, since, until, name = time.time(), said.get("iat"), said.get("exp"), str(said["name"])
    if not _is_time(since) or not _is_time(until):
        raise Refused(f"the approval of {name} says no times: iat {since!r}, exp {until!r}")
    if since > now + SKEW:
        raise Refused(f"the approval of {name} was signed in the future: at {since:g}, it is {now:g}")
    if not now < until <= since + LIFETIME:
        raise Refused(f"the approval of {name} has expired: one holds for {LIFETIME:g} s")
    return name


def _is_time(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
