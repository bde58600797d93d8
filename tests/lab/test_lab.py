"""The lab itself, by real use: a lab of its own in a folder of its own, taken apart in every way that we know of.

It does not touch the checkout's lab, which other tests use.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

import pytest

import lab
from lab.layout import CLUSTERS, Layout

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

ECHO = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: echo}
spec:
  replicas: 2
  selector: {matchLabels: {app: echo}}
  template:
    metadata: {labels: {app: echo}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - {name: agnhost, image: "localhost/agnhost:2", args: [netexec, --http-port=8080]}
      - name: podinfo
        image: localhost/podinfo:6.9.2
        env: [{name: PODINFO_UI_MESSAGE, value: seen}]
        readinessProbe: {httpGet: {path: /readyz, port: 9898}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: echo}
spec: {selector: {app: echo}, ports: [{port: 80, targetPort: 9898}]}
"""

SIMULATED = """
apiVersion: v1
kind: Pod
metadata: {name: busy, annotations: {kwok.x-k8s.io/usage-cpu: "2", kwok.x-k8s.io/usage-memory: 3Gi}}
spec:
  nodeName: production-simulated-1
  tolerations: [{operator: Exists}]
  containers: [{name: busy, image: nobody/pulls-this}]
"""


def kubectl(cluster: str, *words: str, stdin: str | None = None, ok: bool = True) -> str:
    seen = lab.look()
    command = [f"{seen.binaries}/kubectl", "--kubeconfig", str(seen.kubeconfig), "--context", cluster, *words]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=90)
    assert not ok or done.returncode == 0, done.stderr
    return done.stdout if ok else done.stdout + done.stderr


def pod_addresses(cluster: str) -> list[str]:
    return kubectl(cluster, "get", "pods", "-l", "app=echo", "-o", "jsonpath={.items[*].status.podIP}").split()


def reaches(cluster: str, target: str) -> bool:
    done = kubectl(
        cluster, "exec", "deploy/echo", "-c", "agnhost", "--", "/agnhost", "connect", target, "--timeout", "2s", ok=False
    )
    return not any(word in done for word in ("TIMEOUT", "REFUSED", "OTHER", "DNS"))


def until(what: str, true: Callable[[], bool], within: float = 60) -> None:
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
        time.sleep(0.3)


@pytest.fixture(scope="module")
def echo(own_lab: Path) -> Path:
    """podinfo and agnhost in production and same-city."""
    for cluster in CLUSTERS[:2]:
        kubectl(cluster, "apply", "-f", "-", stdin=ECHO)
    for cluster in CLUSTERS[:2]:
        kubectl(cluster, "rollout", "status", "deploy/echo", "--timeout=60s")
    return own_lab


def test_three_clusters_are_up_each_with_a_real_node_and_simulated_ones(own_lab: Path) -> None:
    seen = lab.look()
    assert seen.is_up
    assert [(c.name, c.state, c.real_nodes, c.simulated_nodes) for c in seen.clusters] == [(n, "up", 1, 2) for n in CLUSTERS]
    for name in CLUSTERS:
        nodes = kubectl(name, "get", "nodes", "-o", "name").split()
        assert nodes == [f"node/{name}-node", f"node/{name}-simulated-0", f"node/{name}-simulated-1"]


def test_the_clusters_prometheus_is_told_what_simulated_nodes_and_pods_use(own_lab: Path) -> None:
    kubectl("production", "apply", "-f", "-", stdin=SIMULATED)
    path = "/api/v1/namespaces/monitoring/services/prometheus:9090/proxy/api/v1/query?query="

    def told(expression: str) -> str:
        answer = kubectl("production", "get", "--raw", path + quote(expression), ok=False)
        if not answer.startswith("{"):
            return answer  # not ready yet
        return " ".join(one["value"][1] for one in json.loads(answer)["data"]["result"])

    until("memory is told", lambda: told('container_memory_working_set_bytes{pod="busy"}') == str(3 << 30), within=180)
    until("CPU is told", lambda: told('round(rate(pod_cpu_usage_seconds_total{pod="busy"}[1m]))') == "2", within=180)
    assert told('count(node_memory_working_set_bytes{node="production-simulated-0"})') == "1"


def test_status_for_programs_is_json_with_exit_code_0(own_lab: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "lab", "status", "--json"], capture_output=True, text=True, check=True)
    seen = json.loads(done.stdout)
    assert seen["kubeconfig"] == str(own_lab / "kubeconfig")
    wanted = {"name", "context", "server", "node", "node_address", "containerd_socket", "pod_range", "service_range", "state"}
    assert all(wanted <= set(cluster) for cluster in seen["clusters"])


def test_up_while_up_changes_nothing(own_lab: Path) -> None:
    pids = [cluster.pids for cluster in lab.look().clusters]
    assert lab.up().is_up
    time.sleep(2)  # time enough for a part to end over what `up` may have touched
    assert [cluster.pids for cluster in lab.look().clusters] == pids
    assert lab.ensure().reused


def test_real_pods_stay_on_the_real_node(echo: Path) -> None:
    names = kubectl("production", "get", "pods", "-l", "app=echo", "-o", "jsonpath={.items[*].spec.nodeName}").split()

    assert names == ["production-node"] * 2


def test_exec_logs_and_port_forward_work(echo: Path) -> None:
    assert "Starting podinfo" in kubectl("production", "logs", "deploy/echo", "-c", "podinfo")
    assert reaches("production", "127.0.0.1:9898")
    seen = lab.look()
    command = [f"{seen.binaries}/kubectl", "--kubeconfig", str(seen.kubeconfig), "port-forward", "deploy/echo", ":9898"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as forward:
        assert forward.stdout is not None
        port = forward.stdout.readline().split(":")[1].split()[0]
        with urlopen(f"http://127.0.0.1:{port}/version", timeout=5) as answer:
            assert json.load(answer)["version"] == "6.9.2"
        forward.terminate()


def test_pods_reach_pods_of_other_clusters_and_services_by_name(echo: Path) -> None:
    assert reaches("production", f"{pod_addresses('same-city')[0]}:9898")
    assert reaches("same-city", f"{pod_addresses('production')[0]}:9898")
    assert reaches("production", "echo:80")
    assert reaches("production", "kubernetes.default.svc.cluster.local:443")


def test_a_cut_site_is_silence_outside_and_goes_on_inside(echo: Path) -> None:
    target = f"{pod_addresses('same-city')[0]}:9898"
    lab.cut("same-city")
    lab.cut("same-city")
    try:
        assert lab.look().cluster("same-city").state == "cut"
        assert not reaches("production", target)
        started = time.monotonic()
        kubectl("same-city", "get", "nodes", "--request-timeout=3s", ok=False)
        assert time.monotonic() - started > 2.5  # it waits for an answer: nobody refuses
        namespace = lab.look().cluster("same-city").namespace
        inside = ["nsenter", f"--net=/run/netns/{namespace}", "curl", "-sk", "-m", "3", "https://127.0.0.1:6443/livez"]
        assert subprocess.run(inside, capture_output=True, text=True).stdout == "ok"
    finally:
        lab.heal("same-city")
    until("same-city is up", lambda: lab.look().cluster("same-city").state == "up")
    assert reaches("production", target)


def test_up_heals_a_cut_site(own_lab: Path) -> None:
    lab.cut("remote")
    assert lab.up().is_up


@pytest.mark.parametrize("part", ["etcd", "kube-apiserver", "kube-controller-manager", "containerd", "kubelet", "kube-proxy"])
def test_a_killed_part_is_seen_and_up_brings_it_back(echo: Path, part: str) -> None:
    pid = lab.look().cluster("production").pids[part]
    assert pid
    os.kill(pid, signal.SIGKILL)
    until(f"{part} is missed", lambda: part in lab.look().cluster("production").reason, within=20)
    assert lab.up().is_up
    assert (
        kubectl("production", "get", "pods", "-l", "app=echo", "-o", "jsonpath={.items[*].status.phase}") == "Running Running"
    )


def test_an_api_server_can_be_stopped_and_started(own_lab: Path) -> None:
    lab.stop("remote", "kube-apiserver")
    seen = lab.look().cluster("remote")
    assert (seen.state, seen.reason) == ("degraded", "not running: kube-apiserver")
    lab.start("remote", "kube-apiserver")
    assert kubectl("remote", "get", "--raw", "/readyz") == "ok"


def test_a_site_comes_back_from_a_power_failure_with_its_pods(echo: Path) -> None:
    lab.stop("same-city")
    assert lab.look().cluster("same-city").state == "down"
    lab.start("same-city")
    wait = ["rollout", "status", "deploy/echo", "--timeout=60s"]
    until("the pods run again", lambda: "successfully" in kubectl("same-city", *wait, ok=False))
    until("they answer", lambda: all(reaches("production", f"{address}:9898") for address in pod_addresses("same-city")))


def test_each_site_has_a_database_that_its_agent_guards(own_lab: Path) -> None:
    found = {database.site: database for database in lab.up().databases}
    assert [found[name].role for name in CLUSTERS] == ["primary", "standby", "standby"]
    assert {database.state for database in found.values()} == {"up"}
    token = found["remote"].token
    assert oct(Path(token).stat().st_mode & 0o777) == "0o600"


def database_state(site: str) -> str:
    return next(database.state for database in lab.look().databases if database.site == site)


def test_a_database_that_is_stopped_stays_so_and_one_that_dies_comes_back(own_lab: Path) -> None:
    lab.stop("remote", "postgres")
    assert database_state("remote") == "stopped"
    assert lab.up().is_up  # what is stopped on purpose is nothing to be repaired
    assert database_state("remote") == "stopped"
    lab.start("remote", "postgres")
    assert database_state("remote") == "up"
    lab.stop("production", "postgres", kill=True)
    until("the primary runs again", lambda: database_state("production") == "up")
    lab.stop("same-city", "agent", kill=True)
    assert database_state("same-city") == "down"
    lab.start("same-city", "agent")
    assert database_state("same-city") == "up"


def test_a_pid_that_belongs_to_another_process_now_is_left_alone(own_lab: Path) -> None:
    record = own_lab / "remote" / "processes" / "kube-scheduler.json"
    kept = record.read_text()
    with subprocess.Popen(["sleep", "60"]) as stranger:
        record.write_text(json.dumps(json.loads(kept) | {"pid": stranger.pid}))
        assert lab.look().cluster("remote").parts["kube-scheduler"] == "dead"
        lab.stop("remote", "kube-scheduler", kill=True)
        assert stranger.poll() is None
        stranger.terminate()
    record.write_text(kept)


def test_a_static_program_becomes_an_image_on_every_node(own_lab: Path) -> None:
    from lab import binaries, images, settings

    program = binaries.ensure(lambda text: None)["pause"]
    assert lab.image(program, "localhost/held:1") == ["localhost/held:1"]
    layout = Layout(own_lab, (settings.read(own_lab) or pytest.fail("no lab")).slot)
    assert all("localhost/held:1" in images.names(cluster) for cluster in layout.clusters)


def test_wrong_words_are_answered_with_the_right_ones(own_lab: Path) -> None:
    with pytest.raises(lab.LabError, match="expected one of production, same-city, remote"):
        lab.cut("mars")
    with pytest.raises(lab.LabError, match="expected one of etcd"):
        lab.stop("remote", "engine")
    with pytest.raises(lab.LabError, match="run `python -m lab down` before"):
        lab.up(real_nodes=False)


def test_down_leaves_nothing_behind_even_of_a_lab_in_pieces(echo: Path) -> None:
    layout = Layout(echo, lab.look().slot or 0)
    for part in ("containerd", "kube-apiserver"):
        lab.stop("production", part, kill=True)
    lab.wan(5)
    lab.cut("same-city", "dns")
    lab.cut("remote")
    assert lab.down()
    assert not echo.exists()
    assert not processes_about(echo)
    traces = [Path("/proc/self/mountinfo").read_text(), run("iptables-save"), run("ip", "route"), run("ip", "-brief", "link")]
    for text in traces:
        assert str(echo) not in text
        assert f"fl{layout.slot}-" not in text
        assert str(layout.network).split(".0.0/")[0] + "." not in text
    assert not list(Path("/sys/fs/cgroup").rglob(f"flotilla-{layout.slot}"))
    assert not list(Path("/run").glob(f"**/fl{layout.slot}-*"))
    assert not layout.clusters[0].databases.exists()
    assert not lab.down()
    assert lab.look().clusters == ()


def test_up_again_after_down(own_lab: Path) -> None:
    assert lab.up(simulated_nodes=0).is_up


def run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def processes_about(folder: Path) -> list[str]:
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_text().replace("\0", " ")
        except OSError:
            continue
        if str(folder) in words:
            found.append(words)
    return found
