"""Asked whether its runbooks would work, a fleet that has no recovery says so and is no failure."""

from __future__ import annotations

from flows.recovery import check
from tests.conftest import ROOT


def test_a_fleet_without_recovery_has_nothing_to_be_ready_for(monkeypatch):
    monkeypatch.delenv("FLOTILLA_RECOVERY", raising=False)
    fleet = str(ROOT / "deployments/fleet.yaml")

    end = check.fn(fleet=fleet)

    assert ("COMPLETED", "NoRecovery") == (end.type.value, end.name)
    assert f"{fleet} has no section recovery: there is nothing to be ready for" == end.message
