"""prefect.yaml: what runs for good outlives Prefect's server, so it has no concurrency limit, whose lease the server renews."""

from __future__ import annotations

import yaml

from tests.conftest import ROOT

LONG = {"keep-wired", "collect", "receive-alerts", "watch", "watch-too", "drill"}


def test_what_is_to_outlive_the_server_has_no_limit_that_ends_it_without_the_server():
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    limited = {one["name"] for one in deployments if "concurrency_limit" in one}

    assert LONG <= {one["name"] for one in deployments}
    assert not LONG & limited


def test_whatever_a_schedule_starts_and_is_short_is_started_once():
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    scheduled = {one["name"]: one for one in deployments if one.get("schedules") and one["name"] not in LONG}

    assert scheduled
    assert all(one["concurrency_limit"]["limit"] == 1 for one in scheduled.values())
