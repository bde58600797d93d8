"""Records as external-dns takes them: one DNSEndpoint for a service (externaldns.k8s.io/v1alpha1), and back.

Whoever implements it (Route 53, Cloud DNS, Alibaba DNS, any of external-dns' providers) is told plain addresses. What is lost
against a server of one's own: no health, so an ill site stays in the answer until a runbook takes it out; no moment at which a
change is done, so only asking the servers by DNS shows it; two records that may arrive one after the other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from flotilla.objects import Manifest
from flotilla.traffic.records import Record

API_VERSION, KIND = "externaldns.k8s.io/v1alpha1", "DNSEndpoint"


def endpoints(records: Iterable[Record]) -> list[dict[str, object]]:
    """Return records as endpoints: one a name and type, names without their last dot."""
    sets = defaultdict[tuple[str, str, int], list[str]](list)
    for one in records:
        sets[one.name, one.type, one.ttl].append(one.content)
    return [
        {"dnsName": name.rstrip("."), "recordType": kind, "recordTTL": ttl, "targets": sorted(contents)}
        for (name, kind, ttl), contents in sorted(sets.items())
    ]


def manifest(namespace: str, name: str, records: Iterable[Record]) -> Manifest:
    """Return the object that holds the records."""
    metadata = {"namespace": namespace, "name": name}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": {"endpoints": endpoints(records)}}


def records_in(body: Mapping[str, Any]) -> list[Record]:
    """Return the records that an object holds; raises ValueError where it is not as the API documents it."""
    try:
        return [
            Record(f"{one['dnsName']}.", one["recordType"], int(one.get("recordTTL") or 0), str(target))
            for one in body.get("spec", {}).get("endpoints") or []
            for target in one["targets"]
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"endpoints are not as documented: {error!r}") from None
