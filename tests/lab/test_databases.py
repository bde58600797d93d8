"""What a lab writes for its databases: pure, no root, no PostgreSQL."""

from __future__ import annotations

import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from flotilla.node.config import parse_agent_config
from lab import databases, status
from lab.databases import PASSWORDS, Database, prepare
from lab.layout import CLUSTERS, SLOTS, Layout


def sites(home: Path) -> list[Database]:
    return [Database(name, home, f"10.128.0.{11 + index}") for index, name in enumerate(CLUSTERS)]


def test_agents_take_the_files_that_a_lab_writes_for_them(tmp_path: Path) -> None:
    found = sites(tmp_path)
    prepare(found, ["10.128.0.0/16"])
    parsed = [parse_agent_config(one.config.read_text(), str(one.config)) for one in found]

    assert [one.site for one in parsed] == list(CLUSTERS)
    assert len({frozenset(one.sites) for one in parsed}) == 1
    assert parsed[1].sites["remote"].agent == found[2].agent


def test_secrets_are_made_once_and_are_nobody_elses_to_read(tmp_path: Path) -> None:
    one = sites(tmp_path)[0]
    secret = [
        one.token,
        *(one.password(role) for role in PASSWORDS),
        one.ca.with_name("ca.key"),
        one.ca.with_name("production.key"),
    ]
    prepare(sites(tmp_path), ["10.128.0.0/16"])
    before = [file.read_bytes() for file in secret]
    prepare(sites(tmp_path), ["10.128.0.0/16"])

    assert before == [file.read_bytes() for file in secret]
    assert len(set(before)) == len(before)
    assert {file.stat().st_mode & 0o777 for file in secret} == {0o600}


def test_certificates_are_of_the_labs_own_authority(tmp_path: Path) -> None:
    one = sites(tmp_path)[0]
    prepare(sites(tmp_path), ["10.128.0.0/16"])
    context = ssl.create_default_context(cafile=str(one.ca))
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
        one.ca.with_name("production.pem"), one.ca.with_name("production.key")
    )

    assert [dict(pair[0] for pair in found["subject"])["commonName"] for found in context.get_ca_certs()] == ["flotilla lab"]  # type: ignore[misc]


def test_no_two_labs_share_a_folder_of_databases() -> None:
    layouts = [Layout(Path("/lab"), slot) for slot in range(SLOTS)]

    assert len({layout.clusters[0].databases for layout in layouts}) == SLOTS
    assert all(len({cluster.databases for cluster in layout.clusters}) == 1 for layout in layouts)


def test_a_lab_without_real_nodes_has_no_databases_and_says_why() -> None:
    assert "real nodes" in databases.why_none(Layout(Path("/lab"), 0, real_nodes=False))


@pytest.mark.parametrize(("state", "is_up"), [("up", True), ("stopped", True), ("down", False), ("degraded", False)])
def test_a_lab_is_up_with_a_database_that_is_stopped_on_purpose_and_not_with_one_that_died(state: str, is_up: bool) -> None:
    cluster = status.ClusterStatus("a", "a", "up", "", "", 1, 1, 0, None, None, None, None, None, None, None, "", None)
    database = status.DatabaseStatus("a", state, "", "primary", 1, "h", 1, "", "", "", "", "", "", None, "")
    seen = replace(status.nothing(Path("/lab")), clusters=(cluster,), databases=(database,))

    assert seen.is_up is is_up
