"""The part ``traffic`` of a site agent's file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flotilla.errors import InvalidInput, Permanent
from flotilla.traffic.config import AgentTraffic
from flotilla.validation import checked
from lab import dnsservers
from lab.layout import Layout
from tasks.powerdns import of_site

GOOD = {
    "api": "http://127.0.0.1:8081",
    "keyFile": "/etc/flotilla/powerdns-key",
    "dns": {"address": "10.0.0.11"},
    "zone": "fleet.example.",
    "nameservers": {"ns1.fleet.example.": "10.0.0.11", "ns2.fleet.example.": "10.0.0.12"},
}


def parsed(**changes: Any) -> AgentTraffic:
    return checked(AgentTraffic, GOOD | changes, "agent.yaml")


def test_a_server_is_known_by_its_agents_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret\n")

    made = of_site("production", parsed(keyFile=str(tmp_path / "key")))

    assert (made.place.key, made.place.dns, made.zone.name) == ("secret", ("10.0.0.11", 53), "fleet.example.")
    made.close()


def test_a_key_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(Permanent, match="production: the key of PowerDNS' API can't be read"):
        of_site("production", parsed(keyFile=str(tmp_path / "none")))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"zone": "fleet.example"}, "zone"),
        ({"nameservers": {}}, "nameservers"),
        ({"nameservers": {"ns1.fleet.example.": "mars"}}, "nameservers"),
        ({"dns": {"address": "::1"}}, "dns.address"),
        ({"dns": {"address": "10.0.0.1", "port": 0}}, "dns.port"),
        ({"api": "ftp://x"}, "api"),
        ({"key": "secret"}, "key"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parsed(**changes)

    assert any(problem.field.startswith(field) for problem in caught.value.problems)


def test_the_labs_agents_are_told_what_can_be_read() -> None:
    layout = Layout(Path("/lab"), 3)

    for cluster in layout.clusters:
        found = checked(AgentTraffic, dnsservers.agent_file(cluster, layout), "agent.yaml")

        assert found.nameservers[f"ns-{cluster.name}.fleet.test."] == cluster.node_address == found.dns.address
