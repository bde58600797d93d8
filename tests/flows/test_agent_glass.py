"""Who may break the glass at an agent: two different people whose approvals hold now, whatever else is sent with them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from flotilla.errors import Refused
from flotilla.node.config import AgentConfig
from flotilla.recovery.approvals import APPROVE, LIFETIME, SKEW
from flows.agent import Verify
from flows.agent_parts import glass_of
from tasks.signing import new_key, signed

TEN_YEARS = 10 * 365 * 86400.0  # seconds


@pytest.fixture
def verify(tmp_path: Path) -> Verify:
    return glass_of(AgentConfig.model_construct(approvers={name: new_key(tmp_path / name) for name in ("ann", "bo")}))


def word(keys: Path, name: str, since: float, lasts: float = LIFETIME) -> str:
    times = {"iat": since, "exp": since + lasts}
    return signed({"gate": "glass", "run": "r", "decision": APPROVE, "name": name, "reason": "test", **times}, keys / name)


def test_an_approval_that_has_expired_spoils_none_of_those_that_hold(verify: Verify, tmp_path: Path) -> None:
    now = time.time()
    tokens = [word(tmp_path, "ann", now - 2 * LIFETIME), "nonsense", word(tmp_path, "ann", now), word(tmp_path, "bo", now)]

    assert verify(tokens, 8, "r") == ["ann", "bo"]


def test_where_one_is_left_it_is_told_why_the_others_count_for_nothing(verify: Verify, tmp_path: Path) -> None:
    now = time.time()
    tokens = [word(tmp_path, "ann", now - 2 * LIFETIME), word(tmp_path, "bo", now)]

    with pytest.raises(
        Refused, match=r"epoch 8 of run r: two different people .* approvals of bo; the approval of ann has expired"
    ):
        verify(tokens, 8, "r")
    with pytest.raises(Refused, match="of something else: run 'r'"):
        verify([word(tmp_path, name, now) for name in ("ann", "bo")], 8, "another")


@pytest.mark.parametrize("ahead", [TEN_YEARS, SKEW + 60, float("inf"), float("nan")])
def test_an_approval_of_a_time_that_is_to_come_counts_for_nothing(verify: Verify, tmp_path: Path, ahead: float) -> None:
    with pytest.raises(Refused, match="signed in the future|says no times"):
        verify([word(tmp_path, name, time.time() + ahead) for name in ("ann", "bo")], 8, "r")


@pytest.mark.parametrize("lasts", [float("inf"), float("nan"), LIFETIME + 1])
def test_an_approval_that_would_hold_for_longer_than_any_counts_for_nothing(
    verify: Verify, tmp_path: Path, lasts: float
) -> None:
    with pytest.raises(Refused):
        verify([word(tmp_path, name, time.time(), lasts) for name in ("ann", "bo")], 8, "r")


def test_whose_clock_is_a_little_ahead_is_believed(verify: Verify, tmp_path: Path) -> None:
    assert verify([word(tmp_path, name, time.time() + SKEW / 2) for name in ("ann", "bo")], 8, "r") == ["ann", "bo"]
