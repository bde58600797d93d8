"""The alerts that fire, from the series in which Prometheus and vmalert record them.

See https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/#inspecting-alerts-during-runtime.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flotilla.metrics.webhook import Alert

ALERTS = 'ALERTS{alertstate="firing"}'
SINCE = "ALERTS_FOR_STATE"  # its value is when the alert's condition began to hold, in seconds
_OWN = ("__name__", "alertstate")
_OFFSET, _PRIME, _BITS = 14695981039346656037, 1099511628211, (1 << 64) - 1


def fingerprint(labels: Mapping[str, str]) -> str:
    """Return what Alertmanager identifies an alert by: FNV-1a of its labels (prometheus/common, model/signature.go)."""
    found = _OFFSET
    for name in sorted(labels):
        for byte in (*name.encode(), 0xFF, *labels[name].encode(), 0xFF):
            found = ((found ^ byte) * _PRIME) & _BITS
    return f"{found:016x}"


def firing(found: Iterable[Mapping[str, Any]], since: Iterable[Mapping[str, Any]]) -> list[Alert]:
    """Return the alerts of two answers of a store, in the order of their names; the time is that of the condition."""
    began = {_key(one["metric"]): float(one["value"][1]) for one in since}
    alerts = [_alert(one, began) for one in found]
    return sorted(alerts, key=lambda alert: (alert.name, alert.cluster or "", alert.fingerprint))


def _alert(one: Mapping[str, Any], began: Mapping[tuple[tuple[str, str], ...], float]) -> Alert:
    labels = dict(_key(one["metric"]))
    started = began.get(_key(one["metric"]), float(one["value"][0]))
    return Alert(labels, {}, round(1000 * started), None, is_firing=True, fingerprint=fingerprint(labels))


def _key(metric: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, value) for name, value in metric.items() if name not in _OWN))
