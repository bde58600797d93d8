"""Records as external-dns takes them, and back."""

from __future__ import annotations

import pytest

from flotilla.traffic.endpoints import endpoints, manifest, records_in
from flotilla.traffic.records import Held, holding, records
from tests.flotilla.trafficset import SHOP, desired

PLAIN = records(SHOP, desired(), checked=False)


def test_a_service_is_its_addresses_and_its_epoch() -> None:
    assert endpoints(PLAIN) == [
        {
            "dnsName": "_epoch.shop.example",
            "recordType": "TXT",
            "recordTTL": 5,
            "targets": ['"epoch=7 primary=production sites=production,same-city"'],
        },
        {"dnsName": "shop.example", "recordType": "A", "recordTTL": 5, "targets": ["10.0.0.11", "10.0.0.12"]},
    ]


def test_what_is_written_is_read_back() -> None:
    assert holding(SHOP, records_in(manifest("dns", "shop", PLAIN))) == Held(desired())


def test_an_object_without_endpoints_holds_nothing() -> None:
    assert records_in({"spec": {}}) == []
    assert records_in({}) == []


@pytest.mark.parametrize("endpoint", [{}, {"dnsName": "a"}, {"dnsName": "a", "recordType": "A", "targets": None}, "a"])
def test_an_object_that_is_not_as_documented_is_not_taken_for_an_empty_one(endpoint: object) -> None:
    with pytest.raises(ValueError, match="not as documented"):
        records_in({"spec": {"endpoints": [endpoint]}})
