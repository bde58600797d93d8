"""Desired traffic as DNS records, and back: two records that only ever change together.

The service's own record is PowerDNS' LUA (https://doc.powerdns.com/authoritative/lua-records/): ``ifurlextup`` over the
authorised sites only. A server that has not checked yet, or finds all of them dead, answers all that stand in the record;
so who is not authorised must not stand in it, and does not. The other record, a TXT, says of which epoch the first one is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from flotilla.traffic.service import AUTO, Desired, ModeKind, Service, parse_mode

ADDRESSES = ("A", "LUA")  # record types that say where a service is
_QUOTED = re.compile(r"'(\d+\.\d+\.\d+\.\d+)'")


@dataclass(frozen=True, order=True)
class Record:
    """One record as PowerDNS' API shows it: ``content`` in presentation format, ``ttl`` in seconds."""

    name: str
    type: str
    ttl: int
    content: str

    def as_dict(self) -> dict[str, object]:
        """Return it as it goes over the wire to a site agent."""
        return asdict(self)


@dataclass(frozen=True)
class Held:
    """A server holds what Flotilla once wrote; ``differences``: what of it would be written otherwise now."""

    desired: Desired
    differences: tuple[str, ...] = ()


@dataclass(frozen=True)
class Nothing:
    """A server holds neither of the two records."""


@dataclass(frozen=True)
class Foreign:
    """A server holds records that say no epoch: somebody else wrote them, or half of ours was deleted."""

    reason: str


Holding = Held | Nothing | Foreign


def records(service: Service, desired: Desired, *, checked: bool = True) -> tuple[Record, ...]:
    """Return the records to write, all in one change; ``checked`` False for servers that cannot check health: plain A."""
    said = Record(service.epoch_name, "TXT", service.ttl, f'"{told(service, desired)}"')
    if not checked:
        return *(Record(service.name, "A", service.ttl, address) for address in _addresses(service, desired)), said
    return Record(service.name, "LUA", service.ttl, f'A "{_expression(service, desired)}"'), said


def told(service: Service, desired: Desired) -> str:
    """Return what the epoch's record says."""
    sites = ",".join(name for name in service.site_names if name in desired.authorised)
    mode = "" if desired.mode == AUTO else f" mode={desired.mode}"
    return f"epoch={desired.epoch} primary={desired.primary} sites={sites}{mode}"


def parse_told(text: str) -> Desired:
    """Return what an epoch's record says; raises ValueError where it is not one of ours."""
    words = dict(word.partition("=")[::2] for word in text.strip('"').split())
    try:
        sites = frozenset(filter(None, words["sites"].split(",")))
        return Desired(int(words["epoch"]), words["primary"], sites, parse_mode(words.get("mode", "auto")))
    except (KeyError, ValueError) as error:
        raise ValueError(f"{text!r} says no epoch, primary and sites ({error!r})") from None


def parse_record(body: Mapping[str, object]) -> Record:
    """Return a record that came over the wire; raises ValueError where it is none."""
    try:
        name, kind, content, ttl = body["name"], body["type"], body["content"], body["ttl"]
    except KeyError as error:
        raise ValueError(f"a record without {error}: {dict(body)}") from None
    if not isinstance(name, str) or not isinstance(kind, str) or not isinstance(content, str) or type(ttl) is not int:
        raise ValueError(f"a record with name, type, content as text and ttl as a number is needed: {dict(body)}")
    return Record(name, kind, ttl, content)


def holding(service: Service, found: Iterable[Record]) -> Holding:
    """Return what a server holds of a service, among all its records."""
    ours = [one for one in found if one.name in (service.name, service.epoch_name)]
    said = [one for one in ours if one.name == service.epoch_name and one.type == "TXT"]
    where = [one for one in ours if one.name == service.name and one.type in ADDRESSES]
    if not said and not where:
        return Nothing()
    if len(said) != 1:
        return Foreign(f"{service.name} has {_content(where)} and {len(said)} records of its epoch; expected one")
    try:
        desired = parse_told(said[0].content)
    except ValueError as error:
        return Foreign(str(error))
    return Held(desired, differences(service, desired, ours))


def differences(service: Service, desired: Desired, found: Iterable[Record]) -> tuple[str, ...]:
    """Return what of the found records is not as desired, each as a sentence; none if all is."""
    ours = [one for one in found if one.name in (service.name, service.epoch_name)]
    checked = not any(one.type == "A" for one in ours)
    wanted = records(service, desired, checked=checked)
    lacking = [one for one in wanted if one not in ours]
    odd = [one for one in ours if one not in wanted]
    return tuple(
        f"{one.name} {one.type} should be {one.content} for {one.ttl} s, and is {_content(_like(one, odd))}" for one in lacking
    ) + tuple(
        f"{one.name} {one.type} {one.content} for {one.ttl} s should not be there" for one in odd if not _like(one, lacking)
    )


def named_addresses(content: str) -> frozenset[str]:
    """Return the addresses that stand in a LUA record: all that it can ever answer."""
    return frozenset(_QUOTED.findall(content))


def held_addresses(name: str, found: Iterable[Record]) -> frozenset[str]:
    """Return every address that a server with these records can answer for a name."""
    there = frozenset[str]()
    for one in found:
        if one.name == name and one.type in ADDRESSES:
            there |= {one.content} if one.type == "A" else named_addresses(one.content)
    return there


def _expression(service: Service, desired: Desired) -> str:
    addresses = _addresses(service, desired)
    if desired.mode.kind is ModeKind.PIN:
        # An expression, not a statement: `return {...}` is accepted by the API and never answered.
        return "{" + ",".join(f"'{address}'" for address in addresses) + "}"
    urls = ",".join(f"['{address}']='http://{address}:{service.port}{service.path}'" for address in addresses)
    # Of the options of later versions (minimumFailures, failOnIncompleteCheck) 4.7 ignores each without a word.
    options = f"selector='all', backupSelector='all', timeout={service.timeout}"
    return f"ifurlextup({{{{{urls}}}}}, {{{options}}})"


def _addresses(service: Service, desired: Desired) -> list[str]:
    return [site.address for site in service.sites if site.name in desired.answered]


def _like(one: Record, others: Iterable[Record]) -> list[Record]:
    return [other for other in others if (other.name, other.type) == (one.name, one.type)]


def _content(found: Iterable[Record]) -> str:
    return ", ".join(f"{one.content} for {one.ttl} s" for one in found) or "not there"
