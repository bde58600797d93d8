"""What a DNS server must be given before it takes it, whoever asks: checked where the records are kept, by who keeps them.

A record of type LUA is a program that the server runs. Only the two shapes that Flotilla writes are taken.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

from flotilla.traffic.records import ADDRESSES, Record, held_addresses, parse_told
from flotilla.traffic.service import Desired

RecordSet = tuple[str, str]
"""Name and type: records that a server only ever changes together."""
_EPOCH = "_epoch."
_ADDRESS = r"'\d{1,3}(\.\d{1,3}){3}'"
_URL = r"'http://[\w.:/~%-]+'"
_CHECKED = rf"ifurlextup\(\{{\{{(\[{_ADDRESS}\]={_URL},?)+\}}\}}, \{{selector='all', backupSelector='all', timeout=\d+\}}\)"
_OURS = re.compile(rf'A "({_CHECKED}|\{{({_ADDRESS},?)+\}})"')


def objections(zone: str, wanted: Iterable[Record]) -> tuple[str, ...]:
    """Return every reason not to take these records into a zone; none if they may be taken."""
    records = list(wanted)
    outside = [f"{one.name} is not below {zone}" for one in records if not one.name.endswith(f".{zone}")]
    kinds = [f"{one.name} is of type {one.type}; taken are A, LUA and TXT" for one in records if not _is_known(one)]
    programs = [
        f"{one.name}: {one.content} is neither a list of addresses nor a check of them"
        for one in records
        if one.type == "LUA" and not _OURS.fullmatch(one.content)
    ]
    unfit = [] if programs else _unfit(records)  # of what is no list of addresses they cannot be counted
    return (*outside, *kinds, *programs, *_unpaired(records), *unfit)


def epochs(records: Iterable[Record]) -> Mapping[str, Desired]:
    """Return what the epoch records among them say, by the name of the service; those of others are left out."""
    found = {}
    for one in records:
        if one.name.startswith(_EPOCH) and one.type == "TXT":
            try:
                found[one.name.removeprefix(_EPOCH)] = parse_told(one.content)
            except ValueError:
                continue
    return found


def staleness(held: Iterable[Record], wanted: Iterable[Record]) -> str:
    """Return why a change comes too late, "" if it does not: of a service, a higher epoch is there already."""
    there, new = epochs(held), epochs(wanted)
    late = [name for name in new if name in there and there[name].epoch > new[name].epoch]
    return "; ".join(f"stale epoch {new[name].epoch} of {name}: {there[name].epoch} is there" for name in late)


def changes(held: Iterable[Record], wanted: Iterable[Record]) -> dict[RecordSet, list[Record]]:
    """Return the record sets that must be replaced, or deleted where the list is empty, for the wanted ones to hold.

    An address record of another type under a wanted name is deleted: both would be answered.
    """
    there, new = _sets(held), _sets(wanted)
    replaced = {at: sorted(found) for at, found in new.items() if sorted(there.get(at, [])) != sorted(found)}
    others = [at for at in there if at[1] in ADDRESSES and at not in new and {(at[0], kind) for kind in ADDRESSES} & set(new)]
    return replaced | {at: [] for at in others}


def _is_known(record: Record) -> bool:
    return record.type in (*ADDRESSES, "TXT")


def _unpaired(records: list[Record]) -> list[str]:
    """Return what is wrong where an address would change without its epoch, or an epoch without the address."""
    said = set(epochs(records))
    where = {one.name for one in records if one.type in ADDRESSES}
    return [f"{name} comes without a record of its epoch in the same change" for name in sorted(where - said)] + [
        f"the epoch of {name} comes without its addresses in the same change" for name in sorted(said - where)
    ]


def _unfit(records: list[Record]) -> list[str]:
    """Return where what is said of an epoch, and what would be answered under it, cannot both be so."""
    found = []
    said = [one.name for one in records if one.type == "TXT" and one.name.startswith(_EPOCH)]
    for name, desired in epochs(records).items():
        sites, there = ", ".join(sorted(desired.authorised)) or "no site", held_addresses(name, records)
        if said.count(_EPOCH + name) > 1:
            found.append(f"{name} comes with {said.count(_EPOCH + name)} records of its epoch, where one is expected")
        if desired.primary not in desired.authorised:
            found.append(f"{name} is written at {desired.primary}, and authorised would be {sites}")
        if there and len(there) != len(desired.answered):
            found.append(f"{name} would be answered by {len(there)} addresses for {len(desired.answered)} sites")
    return found


def _sets(records: Iterable[Record]) -> dict[RecordSet, list[Record]]:
    found = defaultdict[RecordSet, list[Record]](list)
    for one in records:
        found[one.name, one.type].append(one)
    return dict(found)
