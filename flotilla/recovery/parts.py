"""Steps that several plans share: beginning, traffic, publishing, re-protecting, verifying."""

from __future__ import annotations

from flotilla.recovery import acts, goals
from flotilla.recovery.layout import Layout
from flotilla.recovery.steps import Left, OnFailure, Phase, Step


def beginning(layout: Layout) -> tuple[Step, ...]:
    """Return the steps that make this the one recovery: leases and epoch, at a majority; who comes later accepts it then."""
    leases = Step(
        "leases",
        "the run holds the leases",
        Phase.PREPARE,
        tuple(acts.TakeLease(site) for site in layout.sites),
        need=layout.majority,
        firm=True,
        lasting=True,
        patience=20,
    )
    epoch = Step(
        "begin",
        "the agents keep to the new epoch",
        Phase.PREPARE,
        tuple(acts.Begin(site) for site in layout.sites),
        need=layout.majority,
        firm=True,
        lasting=True,
        patience=20,
    )
    return leases, epoch


def traffic(layout: Layout, primary: str) -> Step:
    """Return the step that leads traffic to a primary's city: at a majority of the DNS servers at least."""
    sites = layout.authorised(primary)
    made = tuple(_set_traffic(site, layout, primary, sites) for site in layout.sites)
    return Step(
        "traffic",
        f"traffic goes to {', '.join(sites)}",
        Phase.TRAFFIC,
        made,
        undo=Left.NONE_AFTER_THIS,
        need=layout.majority,
        patience=60,
        retries=10,
    )


def _set_traffic(site: str, layout: Layout, primary: str, sites: tuple[str, ...]) -> acts.SetTraffic:
    return acts.SetTraffic(
        site,
        primary,
        sites,
        zone=layout.zone,
        name=layout.name,
        ttl=layout.ttl,
        port=layout.port,
        health=layout.health,
        addresses=layout.addresses(sites),
        cities=tuple(layout.place(one).city for one in sites),
    )


def publishing(layout: Layout, primary: str, promotable: tuple[str, ...], key: str) -> Step:
    """Return the step after which the leases name the primary and who may follow it without loss."""
    sites = layout.authorised(primary)
    who = ", ".join(promotable) or "nobody"
    return Step(
        key,
        f"published: primary {primary}, promotable {who}",
        Phase.REPROTECT if promotable else Phase.TRAFFIC,
        tuple(acts.Publish(site, primary, sites, promotable) for site in layout.sites),
        need=layout.majority,
        milestone=bool(promotable),
        patience=60,
        retries=10,
    )


def protecting(layout: Layout, primary: str, names: tuple[str, ...]) -> tuple[Step, ...]:
    """Return the steps after which commits wait for ``names`` and that is published: in this order, never the other."""
    if not names:
        return ()
    return (
        Step("sync", f"commits at {primary} wait for {', '.join(names)}", Phase.REPROTECT, (acts.SetSync(primary, names),)),
        Step("in-sync", f"{', '.join(names)} is synchronous", Phase.REPROTECT, (goals.InSync(primary, names),), patience=120),
        publishing(layout, primary, names, "publish-promotable"),
    )


def rejoining(site: str, upstream: str, *, approvals: int = 0, on_failure: OnFailure = OnFailure.PAUSE) -> Step:
    """Return the step after which a site follows another, whatever it was; what is discarded is kept as evidence."""
    return Step(
        f"rejoin-{site}",
        f"{site} follows {upstream}",
        Phase.REPROTECT,
        (goals.Rejoin(site, upstream),),
        patience=1800,
        retries=3,
        approvals=approvals,
        on_failure=on_failure,
    )


def tidying(layout: Layout, primary: str, here: tuple[str, ...]) -> Step:
    """Return the step after which no standby holds WAL back for those that follow another now."""
    drops = tuple(acts.DropSlots(site, layout.others(site)) for site in here)
    return Step(
        "tidy",
        f"no slots left but at {primary}",
        Phase.REPROTECT,
        drops,
        patience=60,
        on_failure=OnFailure.CONTINUE,
    )


def kept(primary: str) -> Step:
    """Return the step after which a primary that stays one starts by itself again.

    Whoever accepts a new epoch loses the right to start as a primary: it might have been down while another was promoted under
    that very epoch, and the boot rule compares epochs only.
    """
    made = (acts.Start(primary, "primary"),)
    return Step("kept", f"{primary} may start by itself again", Phase.VERIFY, made, patience=60)


def verified(layout: Layout, primary: str) -> Step:
    """Return the last step: all is as it is to be. The leases are given back after it (``walking.parting``).

    That users are served is asked for where DNS asks for it, too: a name that leads to a site is no service yet.
    """
    sites, told = layout.authorised(primary), f"{primary} is the one primary, and traffic and leases say so"
    addresses = layout.addresses(sites)
    made: tuple[acts.Act, ...] = (goals.Verified(primary, sites, addresses),)
    if layout.health:
        made, told = (*made, goals.Served(primary, sites, addresses, layout.port)), f"{told}; users are served"
    return Step("verify", told, Phase.VERIFY, made, patience=60)
