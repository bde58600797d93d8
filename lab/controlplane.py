"""Control planes: kwokctl writes certificates and command lines and starts the processes; from then on they are ours.

kwokctl knows its processes by pid files alone, which after a crash may name anybody's process. The lab therefore records
each of them with its start time, and starts again what has died from kwokctl's own description.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from lab import api, processes
from lab.binaries import Binaries
from lab.commands import run, wait_until
from lab.errors import CommandFailed, LabError
from lab.layout import CONTROL_PLANE, ClusterLayout
from lab.processes import Life

_USAGE = Path(__file__).parent / "manifests" / "kwok.yaml"
_API_PATIENCE = 60  # seconds; 5 are usual, more on a machine that compiles meanwhile

_SET_BY_KWOKCTL = frozenset(
    {
        "advertise-client-urls",
        "initial-advertise-peer-urls",
        "initial-cluster",
        "listen-client-urls",
        "listen-peer-urls",
        "manage-all-nodes",
        "node-lease-duration-seconds",
        "node-monitor-grace-period",
        "node-monitor-period",
    }
)


def ensure(cluster: ClusterLayout, binaries: Binaries) -> None:
    """Have a running control plane, ready to answer."""
    if not _created(cluster):
        _create(cluster, binaries)
    for part in ("etcd", "kube-apiserver"):
        start(cluster, part)
    wait_ready(cluster)
    for part in CONTROL_PLANE[2:]:
        start(cluster, part)


def wait_ready(cluster: ClusterLayout) -> None:
    """Wait until the API server is ready."""
    wait_until(f"{cluster.name}: a ready API server", lambda: api.not_ready(cluster), within=_API_PATIENCE)


def end_strays(clusters: Iterable[ClusterLayout]) -> None:
    """Kill what creations that broke off have left running."""
    for cluster in clusters:
        if not _created(cluster):
            _end_strays(cluster)


def start(cluster: ClusterLayout, part: str) -> None:
    """Start one part of an existing control plane, unless it runs."""
    if processes.life(cluster, part) is not Life.DEAD:
        return
    component = next(entry for entry in _description(cluster)["components"] if entry["name"] == part)
    processes.start(cluster, part, [component["binary"], *component["args"]])


def configuration(cluster: ClusterLayout, binaries: Binaries) -> dict[str, Any]:
    """Describe the control plane to kwokctl."""
    return {
        "kind": "KwokctlConfiguration",
        "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
        "options": _options(cluster, binaries),
        "componentsPatches": [
            {"name": name, "extraArgs": [_argument(key, value) for key, value in args.items()]}
            for name, args in _arguments(cluster).items()
        ],
    }


def _argument(key: str, value: str) -> dict[str, Any]:
    # kwokctl drops an override of what it does not set itself, and repeats what is not marked as one.
    return {"key": key, "value": value, "override": key in _SET_BY_KWOKCTL}


def _options(cluster: ClusterLayout, binaries: Binaries) -> dict[str, Any]:
    ports = cluster.ports
    return {
        "runtime": "binary",
        "bindAddress": cluster.bind_address,
        "kubeApiserverCertSANs": [cluster.node_address, str(cluster.service_range[1])],  # the latter is what pods see
        "kubeApiserverPort": ports.api,
        "etcdPort": ports.etcd,
        "etcdPeerPort": ports.etcd_peer,
        "kubeControllerManagerPort": ports.controller_manager,
        "kubeSchedulerPort": ports.scheduler,
        "kwokControllerPort": ports.kwok,
        "kubeApiserverBinary": str(binaries["kube-apiserver"]),
        "kubeControllerManagerBinary": str(binaries["kube-controller-manager"]),
        "kubeSchedulerBinary": str(binaries["kube-scheduler"]),
        "kwokControllerBinary": str(binaries["kwok"]),
        "etcdBinary": str(binaries["etcd"]),
    }


def _arguments(cluster: ClusterLayout) -> dict[str, dict[str, str]]:
    """List what differs from kwokctl's command lines, by component."""
    arguments = {
        "etcd": _etcd(cluster),
        "kube-apiserver": _apiserver(cluster),
        # Alone, each may lose its API server for a while (a drill, say) without losing an election and ending.
        # The monitoring times are Kubernetes' own; kwokctl stretches them for thousands of simulated nodes.
        "kube-controller-manager": {
            "leader-elect": "false",
            "flex-volume-plugin-dir": str(cluster.directory / "kubelet" / "volume-plugins"),  # else one in /usr is made
            "node-monitor-period": "5s",
            "node-monitor-grace-period": "50s",
        },
        "kube-scheduler": {"leader-elect": "false"},
        "kwok-controller": {"node-lease-duration-seconds": "40", "config": str(_USAGE)},  # beside kwokctl's own
    }
    if cluster.real_node:  # else kwok would fake the pods of the real node too
        arguments["kwok-controller"] |= {
            "manage-all-nodes": "false",
            "manage-nodes-with-annotation-selector": "kwok.x-k8s.io/node=fake",
        }
    return arguments


def _etcd(cluster: ClusterLayout) -> dict[str, str]:
    client, peer = (f"http://127.0.0.1:{port}" for port in (cluster.ports.etcd, cluster.ports.etcd_peer))
    return {
        "listen-client-urls": client,  # kwokctl's would listen to every pod
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"node0={peer}",
        "unsafe-no-fsync": "true",  # survives every kill; only a crash of the machine may lose the last writes
    }


def _apiserver(cluster: ClusterLayout) -> dict[str, str]:
    pki = cluster.control_plane / "pki"
    return {
        **_advertised(cluster),
        "service-cluster-ip-range": str(cluster.service_range),
        "kubelet-preferred-address-types": "InternalIP",  # else exec and logs look the node's name up in DNS
        "kubelet-client-certificate": str(pki / "admin.crt"),
        "kubelet-client-key": str(pki / "admin.key"),
        "requestheader-client-ca-file": str(pki / "ca.crt"),  # aggregated API servers know their callers by these
        "requestheader-allowed-names": "kwok-admin",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-username-headers": "X-Remote-User",
    }


def _advertised(cluster: ClusterLayout) -> dict[str, str]:
    """Say what pods reach the API server by; without real pods nobody asks, and loopback may not be told to them."""
    return {"advertise-address": cluster.node_address} if cluster.real_node else {"endpoint-reconciler-type": "none"}


def _create(cluster: ClusterLayout, binaries: Binaries) -> None:
    """Let kwokctl write and start the control plane, and take its processes over."""
    _end_strays(cluster)
    shutil.rmtree(cluster.control_plane, ignore_errors=True)
    cluster.directory.mkdir(parents=True, exist_ok=True)
    config = cluster.directory / "kwokctl.yaml"
    config.write_text(json.dumps(configuration(cluster, binaries), indent=2))  # JSON is YAML
    command: list[str | Path] = ["create", "cluster", "--name", cluster.name, "--config", config]
    # Its kubeconfig is not ours, and never the user's.
    command += ["--kubeconfig", cluster.directory / "kwokctl.kubeconfig", "--wait", "0s"]
    try:
        run(*processes.entering(cluster), binaries["kwokctl"], *command, env=_environment(cluster), timeout=_API_PATIENCE)
    except CommandFailed as error:
        raise LabError(f"{cluster.name}: no control plane after {_API_PATIENCE} s. {_last_words(cluster) or error}") from None
    for part in CONTROL_PLANE:
        processes.adopt(cluster, part, _pid(cluster, part) or 0)
    _mark(cluster).touch()


def _end_strays(cluster: ClusterLayout) -> None:
    """Kill what an attempt that broke off has started: pids from kwokctl's files that prove to be ours by their arguments."""
    for part in CONTROL_PLANE:
        pid = _pid(cluster, part)
        if pid and str(cluster.control_plane) in processes.arguments(pid):
            processes.record(cluster, part, pid)
            processes.stop(cluster, part, grace=0)


def _last_words(cluster: ClusterLayout) -> str:
    """Quote the end of the logs of those parts that have ended."""
    ended = [part for part in CONTROL_PLANE if not processes.arguments(_pid(cluster, part) or 0) and cluster.log(part).exists()]
    quotes = [(part, cluster.log(part).read_text().strip().splitlines()[-1:]) for part in ended]
    return "; ".join(f"{part} ended, its log {cluster.log(part)} with: {''.join(last)[:500]}" for part, last in quotes)


def _environment(cluster: ClusterLayout) -> dict[str, str]:
    return dict(os.environ) | {"KWOK_WORKDIR": str(cluster.lab / "kwok")}


def _pid(cluster: ClusterLayout, part: str) -> int | None:
    file = cluster.control_plane / "pids" / f"{part}.pid"
    return int(file.read_text()) if file.exists() else None


def _created(cluster: ClusterLayout) -> bool:
    return _mark(cluster).exists()


def _mark(cluster: ClusterLayout) -> Path:
    """Name the file that says that creation went to its end."""
    return cluster.directory / "control-plane-created"


def _description(cluster: ClusterLayout) -> dict[str, Any]:
    documents = yaml.safe_load_all((cluster.control_plane / "kwok.yaml").read_text())
    return next(entry for entry in documents if entry["kind"] == "KwokctlConfiguration")
