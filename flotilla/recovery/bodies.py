"""Acts as data: requests to agents, what journals keep, and the records and settings that they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from flotilla.errors import Permanent
from flotilla.recovery import goals
from flotilla.recovery.acts import Act, AgentAct, Goal, Rewind, SetSync, SetTraffic, Start
from flotilla.traffic import records as traffic
from flotilla.traffic.records import Record
from flotilla.traffic.service import Desired, Service, Site


def _leaves(cls: type[Act]) -> list[type[Act]]:
    below = cls.__subclasses__()
    return [leaf for sub in below for leaf in _leaves(sub)] if below else [cls]


assert issubclass(goals.Rejoin, Goal)  # they are kinds, too, once that module is there
KINDS: Mapping[str, type[Act]] = {cls.kind: cls for cls in _leaves(Act)}


def to_dict(act: Act) -> dict[str, Any]:
    """Return an act as plain data, as journals and hashes hold it."""
    return {"kind": act.kind, **vars(act)}


def from_dict(data: Mapping[str, Any]) -> Act:
    """Return the act that ``to_dict`` made data of; raises Permanent for a kind or field that nobody knows."""
    cls = KINDS.get(data.get("kind", ""))
    names = {one.name for one in fields(cls)} if cls else set()
    rest: dict[str, Any] = {key: _frozen(value) for key, value in data.items() if key != "kind"}
    if cls is None or not rest.keys() <= names or "site" not in rest:
        raise Permanent(f"a journal speaks of an act that this Flotilla does not know: {dict(data)}")
    return cls(**rest)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def body(act: AgentAct, epoch: int) -> dict[str, Any]:
    """Return the ``act`` of a ``POST /v1/act`` to the agent of ``act.site``; ``epoch`` goes into what DNS says."""
    if isinstance(act, SetTraffic):
        return {"kind": act.kind, "zone": act.zone, "records": [vars(record) for record in records(act, epoch)]}
    if isinstance(act, SetSync):
        return {"kind": act.kind, "names": sync_setting(act.names)}
    given = {key: value for key, value in vars(act).items() if key in _SENT.get(act.kind, ())}
    if isinstance(act, Start):
        given = {"as": act.role}
    if isinstance(act, Rewind):
        given["keep_evidence"] = True
    return {"kind": act.kind, **{key: list(value) if isinstance(value, tuple) else value for key, value in given.items()}}


_SENT = {
    "break_glass": ("approvals",),
    "drain": ("seconds",),
    "create_slots": ("names",),
    "drop_slots": ("names",),
    "follow": ("upstream",),
    "stop": ("mode",),
    "promote": ("timeout",),
    "rewind": ("upstream",),
    "reseed": ("upstream",),
}


def sync_setting(names: tuple[str, ...]) -> str:
    """Return ``synchronous_standby_names`` for these standbys in order of preference; "" if commits wait for none."""
    quoted = ", ".join(f'"{name}"' for name in names)
    return f"FIRST 1 ({quoted})" if names else ""


def records(act: SetTraffic, epoch: int) -> tuple[Record, ...]:
    """Return the records that say who is authorised: the answer itself and, changed with it, the epoch for all to see.

    A site that is not authorised is not in them, so that no cold start or failure of everything can lead anybody there
    (recovery.md, finding 8).
    """
    return traffic.records(_service(act), _desired(act, epoch), checked=act.health)


def epoch_text(act: SetTraffic, epoch: int) -> str:
    """Return the content of the TXT record that says what the answer stands for."""
    return f'"{traffic.told(_service(act), _desired(act, epoch))}"'


def _service(act: SetTraffic) -> Service:
    sites = tuple(Site(name, address, "") for name, address in zip(act.authorised, act.addresses, strict=True))
    return Service(f"{act.name}.{act.zone}", act.zone, sites, act.port, ttl=act.ttl)


def _desired(act: SetTraffic, epoch: int) -> Desired:
    return Desired(epoch, act.primary, frozenset(act.authorised))
