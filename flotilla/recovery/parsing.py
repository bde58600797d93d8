"""From what agents and databases answer to facts: unknown fields are passed over, missing ones make the whole unknown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from flotilla.facts import Unknown
from flotilla.recovery import lsn
from flotilla.recovery.facts import (
    AgentSeen,
    Control,
    DatabaseSeen,
    Follower,
    Fork,
    LeaseSeen,
    Peer,
    Process,
    Slot,
    TrafficSeen,
)
from flotilla.traffic.agreement import Answer, Useless
from flotilla.traffic.records import Record, held_addresses, parse_told


def parse_agent(data: Any) -> AgentSeen | Unknown:
    """Return what an agent's ``GET /v1/seen`` says; Unknown with the reason if something needed is not in it."""
    site = str(data.get("site", "agent")) if isinstance(data, Mapping) else "agent"
    try:
        database = _seen(data["database"])
        return AgentSeen(
            site=_text(data["site"]),
            at=_number(data["at"]),
            epoch=_whole(data["epoch"]),
            run=_text(data.get("run") or ""),
            process=Process(database["process"]),
            standby_signal=_flag(database["standby_signal"]),
            autostart=_flag(database["autostart"]),
            fenced=_flag(database["fenced"]),
            control=_control(site, database.get("control")),
            epoch_age=_optional_number(data.get("epoch_age")),
            fence=tuple(map(str, database.get("fence") or ())),
            disk_free=_seen_size(database.get("disk_free")),
            data_bytes=_seen_size(database.get("data_bytes")),
            traffic=_traffic(site, data.get("traffic")),
            peers=tuple(_peer(name, peer) for name, peer in (data.get("peers") or {}).items()),
            forks=_forks(database.get("forks")),
            unfinished=str(database.get("unfinished") or ""),
            job=str(data.get("job") or ""),
            isolation=_optional_number(data.get("isolation")),
            lacks=tuple(map(str, database.get("lacks") or ())),
        )
    except _BAD as error:
        return Unknown(site, f"its agent's answer cannot be used: {_why(error)}")


def parse_database(data: Any) -> DatabaseSeen | Unknown:
    """Return what a look at a database by SQL says: positions in bytes, sites for addresses and slots, as ``tasks`` asks it."""
    site = str(data.get("site", "database")) if isinstance(data, Mapping) else "database"
    try:
        return DatabaseSeen(
            site=_text(data["site"]),
            at=_number(data["at"]),
            system=_text(data["system"]),
            in_recovery=_flag(data["in_recovery"]),
            timeline=_whole(data["timeline"]),
            position=_whole(data["position"]),
            replayed=_whole(data["replayed"]),
            paused=_flag(data["paused"]),
            upstream=_text(data["upstream"]),
            receives=_flag(data["receives"]),
            read_only=_flag(data["read_only"]),
            synchronous=tuple(map(_text, data["synchronous"])),
            followers=tuple(map(_follower, data["followers"])),
            slots=tuple(Slot(_text(one["name"]), _flag(one["active"]), _text(one["status"])) for one in data["slots"]),
            clients=_whole(data["clients"]),
            in_doubt=_whole(data["in_doubt"]),
            weakened=tuple(map(_text, data["weakened"])),
            epoch=_whole(data["epoch"]),
            epoch_primary=_text(data["epoch_primary"]),
            checkpoint_timeline=_whole(data["checkpoint_timeline"]),
            checkpoint_age=_optional_number(data.get("checkpoint_age")),
            can_rewind=_flag(data["can_rewind"]),
            commits=_optional(data.get("commits")),
            prepared=_whole(data.get("prepared") or 0),
            settings=tuple((name, _text(value)) for name, value in (data.get("settings") or {}).items()),
        )
    except _BAD as error:
        return Unknown(site, f"its database's answer cannot be used: {_why(error)}")


def parse_lease(site: str, lease: Mapping[str, Any] | None, expired: bool) -> LeaseSeen | Unknown:
    """Return what a Lease object says, None standing for one that is not there; whose time is over nobody holds."""
    if lease is None:
        return LeaseSeen(site)
    try:
        said = lease["metadata"].get("annotations") or {}
        given = {key.removeprefix("flotilla.dev/"): value for key, value in said.items() if key.startswith("flotilla.dev/")}
        return LeaseSeen(
            site,
            holder="" if expired else str(lease.get("spec", {}).get("holderIdentity") or ""),
            epoch=int(given.get("epoch") or 0),
            plan=given.get("plan", ""),
            published=int(given.get("published") or 0),
            primary=given.get("primary", ""),
            authorised=_names(given.get("authorised", "")),
            promotable=_names(given.get("promotable", "")),
        )
    except _BAD as error:
        return Unknown(site, f"its lease cannot be used: {_why(error)}")


def lease_annotations(primary: str, authorised: Sequence[str], promotable: Sequence[str], epoch: int) -> dict[str, str]:
    """Return the annotations that publish who is primary: what ``parse_lease`` reads."""
    said = {"published": str(epoch), "primary": primary, "authorised": ",".join(authorised), "promotable": ",".join(promotable)}
    return {f"flotilla.dev/{name}": value for name, value in said.items()}


def parse_answer(answer: Answer | Unknown) -> TrafficSeen | Unknown:
    """Return what a DNS server answers users."""
    if isinstance(answer, Unknown):
        return answer
    found = _newest(answer.server, answer.told)
    if isinstance(found, Unknown):
        return Useless(answer.server, found.reason)
    return replace(found, addresses=tuple(sorted(answer.addresses)))


def parse_epoch_text(site: str, content: str, records: tuple[Record, ...] = ()) -> TrafficSeen | Unknown:
    """Return what a server's ``_epoch`` TXT record says: ``epoch=7 primary=production sites=production,same-city``."""
    try:
        said = parse_told(content)
    except ValueError as error:
        return Unknown(site, f"its _epoch record cannot be used: {error}")
    return TrafficSeen(site, said.epoch, said.primary, tuple(sorted(said.authorised)), records)


def _newest(site: str, texts: Sequence[str]) -> TrafficSeen | Unknown:
    """Return what the epoch's records of one service say, together."""
    if not texts:
        return Unknown(site, "its DNS says no epoch")
    read = [parse_epoch_text(site, text) for text in texts]
    usable = [one for one in read if isinstance(one, TrafficSeen)]
    return replace(max(usable, key=lambda one: one.epoch), texts=len(texts)) if usable else read[0]


_BAD = (KeyError, TypeError, ValueError, AttributeError, IndexError)


def _why(error: Exception) -> str:
    return f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)


def _seen(data: Any) -> Mapping[str, Any]:
    if "unseen" in data:
        raise ValueError(str(data["unseen"]))
    return dict(data)


def _control(site: str, data: Any) -> Control | Unknown:
    try:
        seen = _seen(data)
        end = seen.get("min_recovery_end")
        return Control(
            _text(seen["state"]),
            _text(seen["system_identifier"]),
            _whole(seen["timeline"]),
            lsn.parse(seen["checkpoint"]),
            lsn.parse(end) if end else 0,
        )
    except _BAD as error:
        return Unknown(site, f"pg_controldata: {_why(error)}")


def _forks(data: Any) -> tuple[Fork, ...]:
    """Return where timelines began; nothing where that was not seen, which makes a rewind of what else could just follow."""
    listed = data if isinstance(data, list) else []
    return tuple(Fork(_whole(one["timeline"]), lsn.parse(one["at"])) for one in listed)


def _traffic(site: str, data: Any) -> TrafficSeen | Unknown | None:
    if data is None:
        return None
    try:
        seen = _seen(data)
        records = tuple(
            Record(_text(one["name"]), _text(one["type"]), _whole(one["ttl"]), _text(one["content"])) for one in seen["records"]
        )
        name = next(one.name for one in records if one.type == "TXT" and one.name.startswith("_epoch."))
        found = _newest(site, [one.content for one in records if (one.name, one.type) == (name, "TXT")])
        if isinstance(found, Unknown):
            return found
        addresses = tuple(sorted(held_addresses(name.removeprefix("_epoch."), records)))
        return replace(found, records=records, serving=_flag(seen["serving"]), addresses=addresses)
    except StopIteration:
        return Unknown(site, "its zone has no _epoch record")
    except _BAD as error:
        return Unknown(site, f"its zone cannot be used: {_why(error)}")


def _peer(name: str, data: Mapping[str, Any]) -> Peer:
    return Peer(
        name,
        _flag(data["reached"]),
        _optional_number(data.get("ago")),
        _optional(data.get("epoch")),
        str(data.get("error") or ""),
        _flag(data.get("glass", False)),
        _optional_number(data.get("isolation")),
    )


def _follower(data: Mapping[str, Any]) -> Follower:
    return Follower(
        _text(data["name"]),
        str(data.get("state") or ""),
        str(data.get("sync_state") or ""),
        _optional(data.get("flushed")),
        _optional(data.get("replayed")),
        _optional_number(data.get("lag")),
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is neither true nor false")
    return value


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{value!r} is no whole number")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{value!r} is no number")
    return float(value)


def _seen_size(value: Any) -> int | None:
    return None if isinstance(value, Mapping) else _optional(value)


def _optional(value: Any) -> int | None:
    return None if value is None else _whole(value)


def _optional_number(value: Any) -> float | None:
    return None if value is None else _number(value)
