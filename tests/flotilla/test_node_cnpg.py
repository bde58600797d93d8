"""A site's Cluster of CloudNativePG: what is rendered and patched, what it tells, and what a demotion token says."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from flotilla.errors import InvalidInput, Permanent
from flotilla.node import cnpg
from flotilla.node.cnpg import (
    MARK,
    NO_SITE,
    ClusterSeen,
    cluster,
    external_clusters,
    parse_cluster,
    parse_token,
    process,
    replica,
    rules,
    synchronous,
    token_for,
    topology_of,
)
from flotilla.node.config import AgentConfig, parse_agent_config
from flotilla.node.settings import NOBODY, upstream_of
from flotilla.recovery.facts import Control
from flotilla.validation import read_documents

FILE = """\
site: same-city
listen: 10.0.0.12:7443
tokenFile: /etc/flotilla/token
tls: {cert: /etc/flotilla/site.pem, key: /etc/flotilla/site.key, ca: /etc/flotilla/ca.pem}
state: /var/lib/flotilla
isolation: 30
cloudNativePG:
  kubeconfig: /etc/flotilla/kubeconfig
  context: same-city
  namespace: orders
  name: orders
  manifest: /etc/flotilla/cluster.yaml
  authority: orders-authority
  operator: orders-operator
  observer: orders-observer
sites:
  production: {host: 10.0.0.11, port: 30432, agent: "https://10.0.0.11:7443"}
  same-city: {host: 10.0.0.12, port: 30432, agent: "https://10.0.0.12:7443"}
  remote: {host: 10.9.0.13, port: 30432, agent: "https://10.9.0.13:7443"}
"""
POSTGRES = """\
postgres:
  data: /var/lib/postgresql/15/main
  run: /run/flotilla
  listen: 10.0.0.12
  networks: [10.0.0.0/16]
  passwords: {repl: /etc/flotilla/repl, rewind: /etc/flotilla/rewind, observer: /etc/flotilla/observer}
"""
MANIFEST = """\
apiVersion: postgresql.cnpg.io/v1
kind: Cluster
metadata: {name: whatever, labels: {team: orders}}
spec:
  instances: 1
  imageName: localhost/postgresql:15
  bootstrap: {initdb: {secret: {name: orders-app}}}
  postgresql: {parameters: {max_connections: "60"}, pg_hba: ["host all carol all reject"]}
  managed: {roles: [{name: reader, login: true}], services: {disabledDefaultServices: [ro]}}
"""
# As CloudNativePG 1.30.0 wrote it in the lab.
SAID = {
    "latestCheckpointTimelineID": "1",
    "redoWalFile": "000000010000000000000005",
    "databaseSystemIdentifier": "7713394883668807700",
    "latestCheckpointREDOLocation": "0/5000028",
    "timeOfLatestCheckpoint": "Sun Nov 29 01:12:45 2026",
    "operatorVersion": "1.30.0",
}


def config(text: str = FILE) -> AgentConfig:
    return parse_agent_config(text, "agent.yaml")


def manifest(text: str = MANIFEST) -> Any:
    return read_documents(text, "cluster.yaml")[0]


def encoded(said: object) -> str:
    return base64.b64encode(json.dumps(said).encode()).decode()


def seen(**changes: Any) -> ClusterSeen:
    return ClusterSeen(**{"uid": "u", "version": "7", "primary": "same-city", "source": NO_SITE, "own": "same-city", **changes})


def test_an_agent_has_a_postgresql_of_its_own_or_a_cluster_and_never_both_or_none() -> None:
    with pytest.raises(
        InvalidInput, match=r"agent.yaml: cloudNativePG: 'orders'; allowed: postgres or cloudNativePG, not both"
    ):
        config(FILE + POSTGRES)
    before, after = FILE.split("cloudNativePG:")
    with pytest.raises(InvalidInput, match=r"agent.yaml: postgres: is missing; allowed: postgres or cloudNativePG, one of"):
        config(before + "sites:" + after.split("sites:")[1])
    with pytest.raises(Permanent, match="no PostgreSQL of its own"):
        _ = config().postgres


def test_the_isolation_rule_leaves_the_operator_time_to_stop_a_primary() -> None:
    with pytest.raises(InvalidInput, match=r"isolation: 10.0; allowed: at least 25 with cloudNativePG"):
        config(FILE.replace("isolation: 30\n", ""))


@pytest.mark.parametrize(
    "field", ["kubeconfig", "context", "namespace", "name", "manifest", "authority", "operator", "observer"]
)
def test_what_a_cluster_is_reached_by_has_to_be_said(field: str) -> None:
    lines = [line for line in FILE.splitlines() if not line.startswith(f"  {field}:")]
    with pytest.raises(InvalidInput, match=rf"agent.yaml: cloudNativePG.{field}: is missing"):
        config("\n".join(lines))


def test_a_site_is_its_own_primary_or_takes_wal_from_the_primary() -> None:
    topology = topology_of(config())
    assert replica(topology, "same-city")["primary"] == "same-city"
    assert replica(topology, "remote") == {
        "self": "same-city", "primary": "remote", "source": "remote", "promotionToken": None,
    }  # fmt: skip
    assert replica(topology, NO_SITE)["source"] == NO_SITE


def test_a_promotion_and_its_token_are_one_write() -> None:
    said = replica(topology_of(config()), "same-city", "token")
    assert (said["primary"], said["promotionToken"]) == ("same-city", "token")


def test_a_stranger_is_not_followed() -> None:
    with pytest.raises(Permanent, match="expected one of production, same-city, remote"):
        replica(topology_of(config()), "elsewhere")


def test_every_site_is_known_and_nobody_and_each_standby_goes_by_its_site() -> None:
    known = external_clusters(topology_of(config()), "orders")
    assert [one["name"] for one in known] == ["production", "same-city", "remote", NO_SITE]
    assert {one["connectionParameters"]["application_name"] for one in known[:3]} == {"same-city"}
    assert {one["sslCert"]["name"] for one in known[:3]} == {"orders-replication"}


def test_who_follows_nobody_is_seen_to_have_no_upstream() -> None:
    places = topology_of(config()).places
    host, port = NOBODY
    assert upstream_of(f"host='{host}' port='{port}' user='nobody'", places) == ""
    assert upstream_of("host='10.0.0.11' port='30432' user='streaming_replica'", places) == "production"


def test_a_first_cluster_is_the_manifest_s_with_what_only_the_agent_says() -> None:
    made = cluster(manifest(), config())
    spec = made["spec"]
    assert made["metadata"] == {"name": "orders", "namespace": "orders", "labels": {"team": "orders"}}
    assert spec["bootstrap"]["initdb"] == {
        "owner": "app", "dataChecksums": True, "secret": {"name": "orders-app"}, "database": "orders",
    }  # fmt: skip
    assert spec["replica"] == {"self": "same-city", "primary": "same-city", "source": NO_SITE}
    assert [role["name"] for role in spec["managed"]["roles"]] == ["reader", "operator", "observer"]
    assert spec["managed"]["services"] == {"disabledDefaultServices": ["ro"]}
    assert spec["postgresql"] == {"parameters": {"max_connections": "60"}, "pg_hba": ["host all carol all reject"]}
    assert spec["switchoverDelay"] == cnpg.DELAY
    assert spec["smartShutdownTimeout"] == 0
    assert manifest() == read_documents(MANIFEST, "cluster.yaml")[0]


def test_a_copy_is_bootstrapped_from_its_upstream_and_follows_it() -> None:
    spec = cluster(manifest(), config(), "production", fenced=True)["spec"]
    assert spec["bootstrap"] == {"pg_basebackup": {"source": "production"}}
    assert (spec["replica"]["primary"], spec["replica"]["source"]) == ("production", "production")
    assert spec["postgresql"]["pg_hba"] == [*rules((), fenced=True), "host all carol all reject"]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("kind: Cluster", "kind: Pooler", "is of 'Pooler': expected a Cluster"),
        ("  instances: 1", "  replica: {primary: x}", "spec.replica and all of spec.bootstrap but initdb"),
        ("{initdb: {secret: {name: orders-app}}}", "{recovery: {}}", "spec.replica and all of spec.bootstrap but initdb"),
    ],
)
def test_a_manifest_that_says_what_the_agent_does_is_refused(old: str, new: str, told: str) -> None:
    with pytest.raises(Permanent, match=told):
        cluster(manifest(MANIFEST.replace(old, new)), config())


def test_a_fence_comes_before_the_users_own_rules_and_leaves_them_as_they_were() -> None:
    own = ["host all carol all reject"]
    fenced = rules(own, fenced=True)
    assert fenced[-2:] == ["host all all all reject", *own]
    assert rules(fenced, fenced=True) == fenced
    assert rules(fenced, fenced=False) == own


def test_commits_wait_for_the_first_of_the_sites_and_for_no_pod() -> None:
    said = synchronous(("same-city", "remote"))
    assert said is not None
    assert (said["standbyNamesPre"], said["maxStandbyNamesFromCluster"]) == (["same-city", "remote"], 0)
    assert synchronous(()) is None


def body(**status: Any) -> dict[str, Any]:
    made = cluster(manifest(), config())
    metadata = made["metadata"] | {"uid": "u", "resourceVersion": "7"}
    return {**made, "metadata": metadata, "status": status}


def test_what_a_cluster_tells() -> None:
    found = parse_cluster(body(readyInstances=1, phase="Failing over", phaseReason="why"), "same-city")
    assert (found.uid, found.version, found.ready, found.phase) == ("u", "7", 1, "Failing over: why")
    assert not found.is_standby
    assert not found.put_down
    moving = parse_cluster(body(switchReplicaClusterStatus={"inProgress": True}, demotionToken="t"), "same-city")
    assert (moving.moves, moving.token) == (True, "t")


def test_a_fence_of_somebody_else_is_not_taken_for_the_agent_s() -> None:
    fenced = body()
    fenced["metadata"]["annotations"] = {cnpg.FENCED: cnpg.EVERY_INSTANCE}
    assert not parse_cluster(fenced, "same-city").put_down
    fenced["metadata"]["annotations"] = cnpg.put_down("alone")["metadata"]["annotations"]
    assert parse_cluster(fenced, "same-city").put_down == "alone"


def test_what_is_no_cluster_of_this_version_is_refused() -> None:
    with pytest.raises(Permanent, match="not as postgresql.cnpg.io/v1 documents it"):
        parse_cluster({"metadata": {}}, "same-city")


STANDS = {"primary": NO_SITE, "source": NO_SITE, "token": "t", "ready": 1}


@pytest.mark.parametrize(
    ("changes", "mark", "autostart", "in_recovery", "runs"),
    [
        ({}, "", True, False, "running"),
        ({"ready": 0}, "", True, None, "starting"),
        ({"put_down": "alone"}, "", True, None, "stopped"),
        ({"put_down": "alone", "ready": 1}, "", True, None, "running"),  # it stops; one instance still is ready
        ({"put_down": "alone"}, "", True, False, "running"),
        (STANDS, MARK + "t", False, True, "stopped"),
        (STANDS, MARK, False, True, "stopped"),  # a standby that was stopped
        (STANDS, MARK + "t", False, None, "stopped"),
        (STANDS, "", False, True, "running"),  # nobody has proved it yet
        (STANDS, MARK + "t", False, False, "running"),  # the operator has not begun
        ({**STANDS, "moves": True}, MARK + "t", False, None, "running"),
        ({**STANDS, "source": "remote", "primary": "remote"}, MARK + "t", False, True, "running"),
        (STANDS, MARK + "t", True, True, "running"),  # it was told to start: a standby of nobody that runs
    ],
)
def test_stopped_is_what_is_proved_to_be_no_primary_and_stays_so(
    changes: dict[str, Any], mark: str, autostart: bool, in_recovery: bool | None, runs: str
) -> None:
    assert process(seen(**changes), autostart=autostart, mark=mark, in_recovery=in_recovery) == runs


def test_where_there_is_no_cluster_there_is_no_database() -> None:
    assert process(None, autostart=True, mark="", in_recovery=None) == "absent"


def test_a_token_says_where_the_wal_of_a_primary_ends() -> None:
    assert parse_token(encoded(SAID)) == Control("shut down", "7713394883668807700", 1, 0x5000028)


@pytest.mark.parametrize("token", ["", "x", encoded({}), encoded([]), encoded(SAID | {"latestCheckpointREDOLocation": "5"})])
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(Permanent, match="no demotion token"):
        parse_token(token)


AT_THE_END = Control("in archive recovery", "7713394883668807700", 1, 0x5000028)


@pytest.mark.parametrize(
    ("own", "clean"),
    [
        (AT_THE_END, True),
        (Control("", AT_THE_END.system, 1, 0x5000027), False),  # it has not all of it: it would be waited for
        (Control("", AT_THE_END.system, 1, 0x5000029), False),  # beyond it: the operator would give the Cluster up
        (Control("", AT_THE_END.system, 2, 0x5000028), False),  # of an earlier timeline
        (Control("", "1", 1, 0x5000028), False),  # of another database
    ],
)
def test_a_promotion_is_clean_with_a_token_that_ends_just_where_the_standby_is(own: Control, clean: bool) -> None:
    token = encoded(SAID)
    assert token_for(own, ["no token", token]) == (token if clean else "")
