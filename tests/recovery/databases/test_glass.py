"""Both other sites are gone for good: the primary that two people made lives alone, and comes back alone."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from flotilla.recovery.approvals import APPROVE
from tasks.signing import new_key, signed
from tests.recovery.databases.conftest import needs_postgresql
from tests.recovery.databases.trio import Trio, built, until

pytestmark = pytest.mark.programs
PATIENCE = 3.0  # seconds of the isolation rule in these tests
PEOPLE = ("ann", "bo")


def word(keys: Path, run: str, name: str) -> str:
    now = time.time()
    said = {"gate": "glass", "run": run, "decision": APPROVE, "name": name, "reason": "test", "iat": now, "exp": now + 600}
    return signed(said, keys / name)


def remote_alone(made: Trio, keys: Path) -> None:
    """Have remote be the primary, on two people's word, after both others were lost."""
    for name in ("production", "same-city"):
        made[name].end(signal.SIGKILL)
        made[name].crash()
    made.epoch, made.run = made.epoch + 1, "broken"
    made.act("remote", "break_glass", approvals=[word(keys, "broken", name) for name in PEOPLE])
    made.act("remote", "detach")
    made.act("remote", "promote", timeout=30)


def test_a_primary_made_by_broken_glass_lives_alone_and_ends_the_one_it_replaced(tmp_path: Path) -> None:
    needs_postgresql()
    people = {name: new_key(tmp_path / name) for name in PEOPLE}
    with built(isolation=PATIENCE, approvers=people) as made:
        remote_alone(made, tmp_path)
        remote, promoted = made["remote"], time.monotonic()
        until(lambda: time.monotonic() > promoted + 2 * PATIENCE, "twice the patience is over")
        with remote.connect() as line:
            line.execute(b"create table written_alone ()")

        remote.crash()
        until(lambda: remote.shown["process"] == "running", "it comes back, alone")
        assert "ann and bo broke the glass" in remote.log.read_text()
        for name in ("production", "same-city"):
            made[name].start()
        until(
            lambda: "remote was made primary at epoch 2, after 1 here" in made["production"].log.read_text(),
            "production is told",
        )

        assert made["production"].server is None
        assert remote.ask("select to_regclass('written_alone') is not null and not pg_is_in_recovery()")
