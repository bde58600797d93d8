"""What tests of the ground for services share: a lab of their own as a fleet, and what `flotilla check` tells of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lab
from flotilla.fleet import Fleet, parse_fleet
from flotilla.services.findings import Item, State, Topic
from flows.ground import GroundReport, check_ground
from tests.conftest import ROOT


@contextmanager
def own_fleet(folder: Path, *, real_nodes: bool) -> Iterator[Fleet]:
    """Give a lab of one's own as a fleet; it is the current one until it is gone again."""
    with as_fleet(folder, real_nodes=real_nodes) as fleet:
        try:
            yield fleet
        finally:
            lab.down()


@contextmanager
def as_fleet(folder: Path, *, real_nodes: bool) -> Iterator[Fleet]:
    """Give the lab of a folder, whole, as a fleet; it is the current one for that time."""
    kept = {name: os.environ.get(name) for name in ("FLOTILLA_LAB_DIR", "KUBECONFIG")}
    os.environ["FLOTILLA_LAB_DIR"] = str(folder)
    try:
        os.environ["KUBECONFIG"] = str(lab.up(real_nodes=real_nodes).kubeconfig)
        file = ROOT / "deployments" / "fleet.yaml"
        yield parse_fleet(file.read_text(), str(file))
    finally:
        for name, value in kept.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def report(fleet: Fleet, *, install: bool = False, image: str | None = None) -> GroundReport:
    return check_ground(fleet, install=install, image=image, show=lambda rows: None)


def wrong(found: GroundReport, cluster: str, topic: Topic) -> list[Item]:
    return [item for item in found.items if (item.cluster, item.topic) == (cluster, topic) and item.state is not State.FINE]
