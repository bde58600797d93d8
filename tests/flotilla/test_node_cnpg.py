"""A site's Cluster of CloudNativePG: what is rendered, and what a demotion token says."""

from __future__ import annotations

import base64
import json

import pytest

from flotilla.errors import Permanent
from flotilla.node.cnpg import Topology, external_clusters, parse_token, replica, synchronous
from flotilla.recovery.facts import Control

PLACES = {"production": ("10.0.0.11", 30432), "same-city": ("10.0.0.12", 30432), "remote": ("10.0.0.13", 30432)}
# As CloudNativePG 1.30.0 wrote it in the lab.
SAID = {
    "latestCheckpointTimelineID": "1",
    "redoWalFile": "000000010000000000000005",
    "databaseSystemIdentifier": "7713394883668807700",
    "latestCheckpointREDOLocation": "0/5000028",
    "timeOfLatestCheckpoint": "Sun Nov 29 01:12:45 2026",
    "operatorVersion": "1.30.0",
}


def topology(own: str) -> Topology:
    return Topology(own, PLACES, "authority")


def encoded(said: object) -> str:
    return base64.b64encode(json.dumps(said).encode()).decode()


def test_a_site_is_its_own_primary_or_takes_wal_from_the_primary() -> None:
    assert replica(topology("same-city"), "same-city")["primary"] == "same-city"
    assert replica(topology("same-city"), "same-city")["source"] != "same-city"
    assert replica(topology("same-city"), "remote") == {"self": "same-city", "primary": "remote", "source": "remote"}


def test_a_promotion_and_its_token_are_one_write() -> None:
    said = replica(topology("same-city"), "same-city", "token")
    assert (said["primary"], said["promotionToken"]) == ("same-city", "token")


def test_a_stranger_is_not_followed() -> None:
    with pytest.raises(Permanent, match="expected one of production, same-city, remote"):
        replica(topology("same-city"), "elsewhere")


def test_every_site_is_known_and_each_standby_goes_by_its_site() -> None:
    known = external_clusters(topology("remote"), "orders")
    assert [one["name"] for one in known] == list(PLACES)
    assert {one["connectionParameters"]["application_name"] for one in known} == {"remote"}
    assert {one["sslCert"]["name"] for one in known} == {"orders-replication"}


def test_commits_wait_for_the_first_of_the_sites_and_for_no_pod() -> None:
    said = synchronous(("same-city", "remote"))
    assert said is not None
    assert (said["standbyNamesPre"], said["maxStandbyNamesFromCluster"]) == (["same-city", "remote"], 0)
    assert synchronous(()) is None


def test_a_token_says_where_the_wal_of_a_primary_ends() -> None:
    assert parse_token(encoded(SAID)) == Control("shut down", "7713394883668807700", 1, 0x5000028)


@pytest.mark.parametrize("token", ["", "x", encoded({}), encoded([]), encoded(SAID | {"latestCheckpointREDOLocation": "5"})])
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(Permanent, match="no demotion token"):
        parse_token(token)
