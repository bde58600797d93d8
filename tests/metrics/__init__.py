"""The collector with real Prometheus and VictoriaMetrics, bare on loopback, under faults."""

import pytest

pytest.register_assert_rewrite("tests.metrics.ground")
