"""What the fleet file's section `recovery` says in a lab: addresses of its slot, and two people who may approve."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lab import databases, people
from lab.layout import ORDERS_PORT, Layout


def write(layout: Layout) -> None:
    """Have the file written; without databases in the lab there is none."""
    if databases.why_none(layout):
        file(layout).unlink(missing_ok=True)
        return
    home = databases.of(layout.clusters[0])
    keys = {name: people.public_key(layout, name) for name in people.NAMES}
    for name, secret in {"token": home.token, "observer": home.password("observer")}.items():
        _link(layout.directory / "secrets" / name, secret)
    file(layout).write_text(json.dumps(section(layout, keys), indent=2))  # JSON is YAML


def file(layout: Layout) -> Path:
    """Return where it lies: FLOTILLA_RECOVERY names it."""
    return layout.directory / "recovery.yaml"


def _link(path: Path, secret: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(secret)


def section(layout: Layout, keys: dict[str, str]) -> dict[str, Any]:
    """Return the section."""
    found = [databases.of(cluster) for cluster in layout.clusters]
    addresses = {one.site: one.host for one in found}
    return {
        "database": {
            "name": "orders",
            "port": found[0].port,
            "hosts": addresses,
            "agents": {one.site: {"url": one.agent} for one in found},
            "synchronous": [found[1].site],
            "caFile": str(found[0].ca),
            "stable": 5,
        },
        "traffic": {"zone": "fleet.test.", "name": "orders", "port": ORDERS_PORT, "addresses": addresses, "servers": addresses},
        "application": {"namespace": "orders", "deployments": ["orders"], "replicas": 1},
        "approvers": [{"name": name, "key": key} for name, key in keys.items()],
        "policy": {"minBetweenAutomatic": 60},
    }
