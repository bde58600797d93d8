"""Fixtures for all tests: the lab's three real clusters, brought up once or taken as they are."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from flotilla.fleet import Fleet, parse_fleet
from tasks.clusters import Connection, connect, forget_connections

ROOT = Path(__file__).parent.parent

# How long an example takes says something of the machine's load, and nothing of the code.
settings.register_profile("flotilla", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", settings.get_profile("flotilla"), max_examples=25)  # of `make check`
settings.load_profile("flotilla")

UNTIL = float(os.environ.get("FLOTILLA_TESTS_UNTIL") or "inf")
"""When the last test may begin, in seconds since 1970: of continuous integration, which is cut off without a word later."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have the longest stories last: what there is no time for is one of them, and not a hundred short ones."""
    items.sort(key=lambda item: (item.get_closest_marker("last") is not None, "recovery/stories" in item.nodeid))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Begin nothing that cannot be ended in time; it is told as not run, with all others that were not."""
    if time.time() > UNTIL:
        pytest.skip("NOT RUN: its time was over before it began; `make test` without FLOTILLA_TESTS_UNTIL runs it")


@dataclass(frozen=True)
class FleetLab:
    """The running lab: where its kubeconfig stands and the fleet file's view of it."""

    kubeconfig: str
    fleet: Fleet
    fleet_file: str


@pytest.fixture(scope="session")
def fleet_lab(request: pytest.FixtureRequest) -> Iterator[FleetLab]:
    """Yield the lab of this checkout: the running one, or one of our own that ends with the session."""
    import lab

    running = lab.ensure()
    reporter = request.config.pluginmanager.get_plugin("terminalreporter")
    if reporter:
        reporter.write_line(f"lab: {'the running one is reused' if running.reused else 'brought up for these tests'}")
    before = os.environ.get("KUBECONFIG")
    os.environ["KUBECONFIG"] = str(running.kubeconfig)
    file = ROOT / "deployments" / "fleet.yaml"
    yield FleetLab(str(running.kubeconfig), parse_fleet(file.read_text(), str(file)), str(file))
    if before is None:
        del os.environ["KUBECONFIG"]
    else:
        os.environ["KUBECONFIG"] = before
    if not running.reused:
        lab.down()


@pytest.fixture(scope="session")
def ways(fleet_lab: FleetLab) -> dict[str, Connection]:
    """Return the connections to all clusters of the lab, by name."""
    forget_connections()  # tests of kubeconfigs may have been here before the lab's became the current one
    return {cluster.name: connect(cluster) for cluster in fleet_lab.fleet.clusters}
