"""What the benchmark of services makes of what it saw."""

from __future__ import annotations

from types import SimpleNamespace

from tests.bench.calls import Attempt
from tests.bench.crowd import Crowd, _ends, _lags, _marks
from tests.bench.losing import Loss, _judged
from tests.bench.services import figures
from tests.bench.stand import p50, p99
from tests.tasks.fleetset import Member


def attempt(begun: float, ended: float, answered: bool) -> Attempt:
    return Attempt("web", begun, ended, True, answered, "pod" if answered else "!")


def test_the_99th_percentile_is_exceeded_by_one_in_a_hundred():
    hundred = [float(number) for number in range(1, 101)]

    assert (50.5, 99.0) == (p50(hundred), p99(hundred))
    assert 1.0 == p99([1.0])


def test_a_request_that_was_under_way_at_the_cut_counts_as_lost_by_it():
    seen = [attempt(1, 2, False), attempt(9.5, 10.5, False), attempt(12, 13, False), attempt(14, 14.1, True)]

    loss = _judged(seen, cut=10, back=7)

    assert (2, 3) == (loss.last_begun, loss.last_ended)
    assert (2, 3, 1) == (loss.failed, loss.requests, loss.failed_before)


class Heard:
    """An ear that has heard of change 1, by where it comes from."""

    def __init__(self, **heard: float) -> None:
        self.heard = {("" if source == "here" else source, 1): at for source, at in heard.items()}


def test_a_change_is_everywhere_when_the_last_other_cluster_holds_it_and_behind_where_one_never_does():
    crowd = Crowd([{name: Member(SimpleNamespace(name=name), "crowd") for name in "abc"}], 1)
    ears = {"a": Heard(here=10.0, a=10.9), "b": Heard(a=10.2), "c": Heard(a=10.3)}

    assert [0.3] == [round(lag, 3) for lag in _lags(crowd, ears)]
    assert [] == _lags(crowd, ears | {"c": Heard()})


def test_marks_tell_a_service_that_came_from_a_change_of_it_and_native_from_imported():
    labels = {"multicluster.kubernetes.io/service-name": "s7", "multicluster.kubernetes.io/source-cluster": "a"}

    def slice_of(change: int, **labels: str) -> dict:
        return {"metadata": {"namespace": "n", "labels": labels}, "endpoints": _ends(7, change)}

    assert [("n", "s7")] == list(_marks(slice_of(0, **labels)))
    assert [("a", 3)] == list(_marks(slice_of(3, **labels)))
    assert [("", 3)] == list(_marks(slice_of(3)))
    assert [] == list(_marks(slice_of(0)))


def test_the_worst_loss_is_told_as_the_loss():
    times = {key: [0.01, 0.02] for key in ("floor", "slice", "patch", "ready", "export", "unexport")}
    lost = [Loss(2.0, 3.0, 40, 1000, 0, 5.0), Loss(3.0, 4.0, 90, 1000, 0, 5.0)]

    told = figures(times, lost)

    assert (1.0, 4.0, 90) == (told["slice_p50_vs_watch"], told["loss_to_clean_s"], told["loss_failed"])
