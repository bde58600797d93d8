"""From a sample to a run: the store's rules, a real Alertmanager, the receiver, Prefect."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpx
import psutil
import pytest

from flotilla.errors import Transient
from flotilla.fleet import Fleet
from flotilla.metrics.alerts import Leave, Sense, Start, sense_of
from flotilla.metrics.config import Metrics
from flotilla.metrics.firing import fingerprint
from flotilla.metrics.own import encoded
from flotilla.metrics.spans import Span
from flotilla.metrics.webhook import parse_webhook
from flows.alerts import WATERMARKS, Decision, Watch, intake
from flows.hindsight import NOTED, Late, reevaluated
from lab.layout import Hub
from tasks import prefect_api
from tasks.doors import now
from tasks.intake import open_intake
from tasks.store import Store, Written, store_of
from tests.conftest import FleetLab
from tests.flows.hubset import opened, shown

pytestmark = [pytest.mark.lab, pytest.mark.prefect]

ROUTES = [
    {"match": '{alertname="FlotillaClusterSilent"}', "deployment": "services/audit", "looksOnly": True},
    {"match": '{alertname=~"FleetApplicationDown|Sure"}', "deployment": "drift/drift", "fromLabels": {"correct": "how"}},
]


@pytest.fixture(scope="module", autouse=True)
def unwalked(prefect: None) -> Iterator[None]:
    """The runs that alerts start are counted here; nothing is to walk them beside the tests that follow."""
    worker = psutil.Process(prefect_api.recorded()["worker"]["pid"])
    worker.suspend()  # a pool that is paused stays so for a worker for a minute more
    yield
    scheduled = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
    for run in prefect_api.call("POST", "/flow_runs/filter", scheduled).json():
        prefect_api.call("DELETE", f"/flow_runs/{run['id']}")
    worker.resume()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with opened(tmp_path_factory.mktemp("hub")) as one:
        yield one


@pytest.fixture
def fleet(fleet_lab: FleetLab, hub: Hub) -> Fleet:
    metrics = Metrics.model_validate({"store": {"url": hub.store}, "alerts": ROUTES})
    return fleet_lab.fleet.model_copy(update={"metrics": metrics})


@pytest.fixture
def store(fleet: Fleet) -> Store:
    return store_of(fleet.metrics.store)


@pytest.fixture
def heard(fleet: Fleet, hub: Hub, prefect: None) -> Iterator[list[Decision]]:
    """What the receiver decided, to which Alertmanager talks."""
    found = list[Decision]()
    with open_intake(hub.receiver, intake(Watch(fleet), hub.token.read_text(), found.extend)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield found
        server.shutdown()


def watermarks(store: Store, **ages: float) -> None:
    """Have the store say how old the newest sample of each cluster is, in seconds."""
    found = [
        ("flotilla_watermark_timestamp_seconds", {"cluster": name}, now() / 1000 - age)
        for name, age in {key.replace("_", "-"): value for key, value in ages.items()}.items()
    ]
    store.write(encoded(found, now()), Written())
    wanted = {name["cluster"]: f"{value:.3f}" for _, name, value in found}
    shown(store, WATERMARKS, lambda seen: {one["metric"]["cluster"]: f"{float(one['value'][1]):.3f}" for one in seen} == wanted)


def told(fleet: Fleet, body: bytes) -> list[Decision]:
    """Have a new receiver take a webhook."""
    found: list[Decision] = []
    intake(Watch(fleet), "", found.extend).take("us", body)
    return found


def runs_of(start: Start) -> list[dict[str, str]]:
    body = {"flow_runs": {"idempotency_key": {"any_": [start.key]}}}
    return list(prefect_api.call("POST", "/flow_runs/filter", body).json())


def webhook(name: str, started: str = "2026-11-23T10:00:00Z", status: str = "firing", **labels: str) -> bytes:
    named = {"alertname": name, **labels}
    alert = {"status": status, "labels": named, "annotations": {}, "startsAt": started, "endsAt": "0001-01-01T00:00:00Z"}
    return json.dumps({"version": "4", "alerts": [alert | {"fingerprint": fingerprint(named)}]}).encode()


def test_a_silent_cluster_starts_one_run_however_often_it_is_told(heard, store):
    deadline = time.monotonic() + 400
    while not [one for one in heard if one.alert.name == "FlotillaClusterSilent" and one.alert.cluster == "remote"]:
        assert time.monotonic() < deadline
        watermarks(store, production=5, same_city=5, remote=600)
        time.sleep(5)
    (first, *_) = [one for one in heard if one.alert.cluster == "remote" and one.alert.name == "FlotillaClusterSilent"]

    assert isinstance(first, Start)
    assert "services/audit" == first.deployment
    assert 1 == len(runs_of(first))
    assert fingerprint(first.alert.labels) == first.alert.fingerprint


def test_what_is_certain_starts_what_is_routed_once_and_what_is_not_starts_nothing(fleet, store, prefect):
    watermarks(store, production=5, same_city=5, remote=600)
    watch = Watch(fleet)
    sure = webhook("Sure", cluster="production", how="report")
    decisions: list[Decision] = []
    take = partial(intake(watch, "", decisions.extend).take, "us")

    for body in (sure, sure, webhook("Sure", cluster="remote", how="report"), webhook("Sure", verdict="unknown", how="report")):
        take(body)
    take(webhook("Sure", how="report"))  # of no cluster: it is made of all of them
    take(webhook("FleetApplicationDown", verdict="firing", how="report"))  # its rule knows of silent clusters
    take(webhook("Sure", cluster="production"))
    take(webhook("Sure", cluster="production", how="report", flotilla_historical="true"))

    first, again, silent, unknown, of_all, by_rule, lacking, past = decisions
    assert isinstance(first, Start)
    assert {"correct": "report"} == first.parameters
    assert isinstance(by_rule, Start)
    whys = [one.why for one in (again, silent, unknown, of_all, lacking, past) if isinstance(one, Leave)]
    assert [
        "drift/drift was started for it already",
        "it is unknown: samples of remote are 10 min old",
        "it is unknown: its rule says so",
        "it is unknown: samples of remote are 10 min old",
        "it has no label how, which drift/drift needs",
        "it was found out afterwards, from samples that came late",
    ] == [re.sub(r"10 min \d+ s", "10 min", why) for why in whys]
    assert Sense.UNKNOWN is sense_of(silent.alert, watch.situation())
    assert Sense.FIRING is sense_of(first.alert, watch.situation())
    assert 1 == len(runs_of(first))


def test_another_receiver_that_hears_the_same_starts_nothing_twice(fleet, store, prefect):
    watermarks(store, production=5, same_city=5, remote=5)
    body = webhook("Sure", started="2026-11-23T11:11:11Z", cluster="same-city", how="report")

    (first,), (second,) = told(fleet, body), told(fleet, body)

    assert isinstance(first, Start)
    assert first == second
    assert 1 == len(runs_of(first))


def test_of_a_storm_of_one_alert_one_asks_prefect_and_all_are_answered(fleet, store, prefect, monkeypatch):
    watermarks(store, production=5, same_city=5, remote=5)
    asked, watch = list[str](), Watch(fleet)

    def counted(deployment: str, parameters: dict[str, object], key: str) -> dict[str, object]:
        asked.append(key)
        return prefect_api.submit(deployment, parameters, key=key)

    monkeypatch.setattr("flows.alerts.submit", counted)
    body = webhook("Sure", started="2026-11-23T13:13:13Z", cluster="same-city", how="report")
    with open_intake("127.0.0.1:0", intake(watch, "s3cret", lambda _: None)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        there, shows = f"http://127.0.0.1:{server.server_address[1]}/alerts", {"Authorization": "Bearer s3cret"}
        with ThreadPoolExecutor(30) as pool, httpx.Client(headers=shows, timeout=60) as client:
            answers = list(pool.map(lambda _: client.post(there, content=body), range(1000)))
        server.shutdown()

    assert {200} == {one.status_code for one in answers}
    assert 1 == len(asked)


def test_an_alert_that_comes_while_prefect_is_away_is_not_taken(fleet, store, prefect, monkeypatch):
    watermarks(store, production=5, same_city=5, remote=5)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")

    with pytest.raises(Transient, match="Prefect at .* does not answer"):
        told(fleet, webhook("Sure", started="2026-11-23T12:12:12Z", cluster="same-city", how="report"))


def test_an_alert_that_comes_while_the_store_is_away_is_not_taken(fleet_lab):
    metrics = Metrics.model_validate({"store": {"url": "http://127.0.0.1:9"}, "alerts": ROUTES})
    fleet = fleet_lab.fleet.model_copy(update={"metrics": metrics})

    with pytest.raises(Transient, match="store: .* does not answer"):
        told(fleet, webhook("Sure", cluster="same-city", how="report"))


def test_rules_see_what_came_late_and_an_alert_that_would_have_fired_is_noted_and_starts_nothing(fleet, store, tmp_path):
    text = """
groups:
  - name: late
    rules:
      - record: "cluster:test_ready:sum"
        expr: "sum by (cluster) (test_ready) and on (cluster) (flotilla:cluster_fresh:bool == 1)"
      - {alert: TestNotReady, expr: "cluster:test_ready:sum < 1", for: 1m, labels: {how: report}}
"""
    (tmp_path / "rules.yaml").write_text(text)
    fleet = fleet.model_copy(update={"metrics": fleet.metrics.model_copy(update={"rules": (str(tmp_path),)})})
    here = now() // 15_000 * 15_000
    begin = here - 600_000
    for time_then in range(begin, begin + 300_000, 15_000):
        for cluster, value in (("remote", 0.0), ("production", 1.0)):
            store.write(encoded([("test_ready", {"cluster": cluster, "test": tmp_path.name}, value)], time_then), Written())
    shown(store, "count(count_over_time(test_ready[20m]) == 20) == 2")
    late = Late(Span(begin, begin + 300_000), ["remote"], ["production", "remote"])

    (found,) = reevaluated(fleet, store, late, here)
    shown(store, f"count_over_time({NOTED}[20m])")
    (again,) = reevaluated(fleet, store, late, here)

    assert ("TestNotReady", "remote") == (found.labels["alertname"], found.labels["cluster"])
    assert begin / 1000 + 60 == found.begin
    assert found == again
    recorded = store.engine.query_range("cluster:test_ready:sum", begin / 1000, begin / 1000 + 285, 15)
    assert ["remote"] == [one["metric"]["cluster"] for one in recorded]  # production's was recorded in its time
    (noted,) = store.engine.query_range(f'{NOTED}{{alertname="TestNotReady"}}', begin / 1000 + 60, begin / 1000 + 285, 15)
    assert "true" == noted["metric"]["flotilla_historical"]
    labels = {name: value for name, value in noted["metric"].items() if name != "__name__"}
    (decision,) = Watch(fleet).decisions(parse_webhook(webhook(labels.pop("alertname"), **labels)).alerts)
    assert isinstance(decision, Leave)
