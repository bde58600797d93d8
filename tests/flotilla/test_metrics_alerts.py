"""Alerts of three values, the webhook they come by, and what they start."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from flotilla.errors import InvalidInput
from flotilla.metrics.alerts import Freshness, Leave, Sense, Situation, Start, clusters_read, decided, sense
from flotilla.metrics.config import AlertRoute
from flotilla.metrics.webhook import Alert, historical, parse_webhook

SECOND, MINUTE = 1000, 60_000
FLEET = ("production", "same-city", "remote")
FRESH = Freshness({"production": 30 * SECOND, "same-city": 31 * SECOND, "remote": 29 * SECOND})
SITUATION = Situation(FRESH)

# The example of Alertmanager's documentation, as version 0.27 sends it.
TOLD: dict[str, Any] = {
    "receiver": "flotilla",
    "status": "firing",
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "ClusterDown", "cluster": "production", "severity": "critical"},
            "annotations": {"summary": "production does not serve"},
            "startsAt": "2026-09-21T14:13:20.123456789Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://vmalert:8880/",
            "fingerprint": "d6b1c5a08c6a0b5f",
        },
        {
            "status": "resolved",
            "labels": {"alertname": "Watchdog"},
            "annotations": {},
            "startsAt": "2026-09-21T16:13:20+02:00",
            "endsAt": "2026-09-21T14:14:20Z",
            "generatorURL": "",
            "fingerprint": "0a",
        },
    ],
    "groupLabels": {"alertname": "ClusterDown"},
    "commonLabels": {},
    "commonAnnotations": {},
    "externalURL": "http://alertmanager:9093",
    "version": "4",
    "groupKey": '{}:{alertname="ClusterDown"}',
    "truncatedAlerts": 3,
}
DOWN, OVER = parse_webhook(json.dumps(TOLD)).alerts
ROUTE = AlertRoute(
    match='{alertname="ClusterDown",severity=~"critical|page"}',
    deployment="recovery/failover",
    parameters={"confirm": False},
    from_labels={"lost": "cluster"},
)


def test_a_webhook_is_read_as_alerts():
    told = parse_webhook(json.dumps(TOLD).encode())

    assert 3 == told.left_out
    assert (
        Alert(
            labels={"alertname": "ClusterDown", "cluster": "production", "severity": "critical"},
            annotations={"summary": "production does not serve"},
            started=1_790_000_000_123,
            ended=None,
            is_firing=True,
            fingerprint="d6b1c5a08c6a0b5f",
        )
        == DOWN
    )
    assert ("alert-d6b1c5a08c6a0b5f-1790000000123", "ClusterDown", "production") == (DOWN.key, DOWN.name, DOWN.cluster)
    assert (1_790_000_000_000, 1_790_000_060_000, False, None) == (OVER.started, OVER.ended, OVER.is_firing, OVER.cluster)
    assert "ClusterDown of production since 2026-09-21 14:13:20" == str(DOWN)


def changed(**alert: Any) -> str:
    return json.dumps({**TOLD, "alerts": [{**TOLD["alerts"][0], **alert}]})


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ("", ""),
        ("[" * 100_000, ""),
        (b"\xff\xfe", ""),
        ("[]", ""),
        ("null", ""),
        (json.dumps({**TOLD, "version": "3"}), "version"),
        (json.dumps({**TOLD, "alerts": {}}), "alerts"),
        (json.dumps({key: value for key, value in TOLD.items() if key != "alerts"}), "alerts"),
        (changed(status="pending"), "alerts[0].status"),
        (changed(labels=["a"]), "alerts[0].labels"),
        (changed(labels={"a": 1}), "alerts[0].labels.a"),
        (changed(labels={"a": "x" * 20_000}), "alerts[0].labels.a"),
        (changed(startsAt="yesterday"), "alerts[0].startsAt"),
        (changed(startsAt="2026-09-21T14:13:20"), "alerts[0].startsAt"),
        (changed(fingerprint="../.."), "alerts[0].fingerprint"),
        (changed(fingerprint=None), "alerts[0].fingerprint"),
    ],
)
def test_what_is_no_webhook_is_refused_by_field(body, field):
    with pytest.raises(InvalidInput) as refused:
        parse_webhook(body)

    assert [field] == [problem.field for problem in refused.value.problems]


def test_fields_that_a_later_version_adds_are_no_offence():
    assert parse_webhook(json.dumps({**TOLD, "notificationReason": "x"})).alerts == (DOWN, OVER)


@pytest.mark.parametrize(
    ("is_active", "ages", "expected"),
    [
        (True, {}, Sense.FIRING),
        (False, {}, Sense.QUIET),
        (True, {"remote": 121 * SECOND}, Sense.UNKNOWN),
        (False, {"remote": 121 * SECOND}, Sense.UNKNOWN),
        (False, {"remote": None}, Sense.UNKNOWN),
        (True, {"remote": 120 * SECOND}, Sense.FIRING),
    ],
)
def test_a_rule_says_nothing_where_a_cluster_that_it_reads_is_silent(is_active, ages, expected):
    assert expected is sense(is_active, FLEET, Freshness({**FRESH.ages, **ages}))


def test_a_cluster_that_a_rule_does_not_read_may_be_silent():
    silent = Freshness({**FRESH.ages, "remote": None})

    assert Sense.FIRING is sense(True, ["production"], silent)
    assert Sense.UNKNOWN is sense(True, ["production", "unheard-of"], silent)
    assert "samples of production are 30 s old, no samples of remote" == silent.said(["production", "remote"])


@pytest.mark.parametrize(
    ("expression", "about", "clusters"),
    [
        ("up == 0", None, set(FLEET)),
        ("up == 0", "remote", {"remote"}),
        ('sum(rate(a{cluster="remote"}[5m])) > 0', None, {"remote"}),
        ('a{cluster=~"prod.+"} / on () sum(b{cluster!~"prod.+",x="y"})', None, set(FLEET)),
        ('a / on () group_left () sum(b{cluster="remote"})', "production", {"production", "remote"}),
        ('absent(a{cluster="gone"})', None, set()),
        ('a{cluster=~"\\\\pL+"}', None, set(FLEET)),  # an expression of RE2 that is none of Python's
        ('max_over_time(a{cluster="remote"}[1h:1m])', None, {"remote"}),
    ],
)
def test_which_clusters_an_expression_reads(expression, about, clusters):
    assert clusters == clusters_read(expression, FLEET, about)


def test_an_alert_starts_the_deployment_of_its_route_with_its_labels():
    start = decided(DOWN, [ROUTE], SITUATION)

    assert Start(DOWN, "recovery/failover", {"confirm": False, "lost": "production"}) == start
    assert f"{DOWN.key}-recovery/failover" == start.key


def test_the_first_route_that_picks_an_alert_counts():
    other = ROUTE.model_copy(update={"deployment": "other/one", "match": '{alertname=~".+"}', "from_labels": {}})

    assert "recovery/failover" == decided(DOWN, [ROUTE, other], SITUATION).deployment
    assert "other/one" == decided(replace(DOWN, labels={"alertname": "Odd"}), [ROUTE, other], SITUATION).deployment


SILENT = Freshness({**FRESH.ages, "production": 4 * MINUTE})


@pytest.mark.parametrize(
    ("alert", "situation", "why"),
    [
        (replace(DOWN, is_firing=False), SITUATION, "it is over"),
        (replace(DOWN, labels=historical(DOWN.labels)), SITUATION, "found out afterwards"),
        (replace(DOWN, labels={"alertname": "Other"}), SITUATION, "no route"),
        (replace(DOWN, labels={"alertname": "ClusterDown", "severity": "page"}), SITUATION, "no label cluster"),
        (DOWN, Situation(SILENT), "it is unknown: samples of production are 4 min old"),
        (DOWN, Situation(FRESH, rules={"ClusterDown": 'absent(up{cluster="gone"})'}), "reads no cluster of the fleet"),
        (DOWN, Situation(Freshness({})), "reads no cluster of the fleet"),
        (DOWN, Situation(FRESH, {f"{DOWN.key}-recovery/failover"}), "was started for it already"),
    ],
)
def test_what_is_over_late_unknown_or_begun_starts_nothing(alert, situation, why):
    left = decided(alert, [ROUTE], situation)

    assert isinstance(left, Leave)
    assert why in str(left)


def test_a_silent_cluster_that_the_alert_does_not_read_stops_nothing():
    silent = Freshness({**FRESH.ages, "remote": None})
    rule = {"ClusterDown": 'up / on () sum(up{cluster="remote"})'}

    assert isinstance(decided(DOWN, [ROUTE], Situation(silent)), Start)
    assert isinstance(decided(DOWN, [ROUTE], Situation(silent, rules=rule)), Leave)
    assert isinstance(
        decided(DOWN, [ROUTE], Situation(silent, rules={"ClusterDown": "topk_avg(5, up) keep_metric_names"})), Leave
    )


def test_a_deployment_that_only_looks_is_started_by_an_unknown_alert_but_not_by_one_found_out_afterwards():
    looks = ROUTE.model_copy(update={"looks_only": True})

    assert isinstance(decided(DOWN, [looks], Situation(SILENT)), Start)
    assert isinstance(decided(replace(DOWN, labels=historical(DOWN.labels)), [looks], SITUATION), Leave)


def test_the_same_outbreak_has_the_same_key_and_the_next_one_another():
    again = parse_webhook(json.dumps(TOLD)).alerts[0]
    next_one = parse_webhook(changed(startsAt="2026-09-21T15:13:20Z")).alerts[0]

    assert DOWN.key == again.key
    assert DOWN.key != next_one.key


def test_an_alert_says_what_it_is_about():
    labels = {
        "alertname": "x",
        "severity": "page",
        "verdict": "firing",
        "namespace": "shop",
        "deployment": "web",
        "cluster": "a",
    }

    assert "a, deployment=web, namespace=shop" == Alert(labels, {}, 0, None, is_firing=True, fingerprint="f").about
    assert "" == Alert({"alertname": "x"}, {}, 0, None, is_firing=True, fingerprint="f").about
