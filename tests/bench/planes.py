"""More clusters than the lab has: API servers of their own that share one etcd, with nothing behind them.

Each has its own prefix in etcd, so to its users it is a whole cluster without nodes and controllers. They listen on
loopback only, and are gone with their data afterwards.
"""

from __future__ import annotations

import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from flotilla.services.definitions import NAMES
from lab import binaries
from tasks.clusters import connect
from tasks.definitions import install_definition
from tests.bench.stand import Members, Stand, until
from tests.tasks.fleetset import Member

LOOPBACK = "127.0.0.1"


@contextmanager
def planes(stand: Stand, count: int) -> Iterator[Stand]:
    """Yield a stand with so many bare clusters in place of the lab's."""
    pki = stand.running.lab / "kwok" / "clusters" / "production" / "pki"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        etcd = _start_etcd(stack, folder)
        ports = [_start_server(stack, folder, pki, etcd, number) for number in range(count)]
        file = folder / "kubeconfig"
        file.write_text(yaml.safe_dump(_kubeconfig(pki, ports)))
        clusters = [_cluster(number, str(file)) for number in range(count)]
        here = replace(stand, document=stand.document | {"clusters": clusters})
        with ThreadPoolExecutor(count) as pool:
            list(pool.map(_prepare, here.fleet.clusters))
        yield here


def open_rooms(stand: Stand, names: Sequence[str]) -> list[Members]:
    """Return namespaces in every cluster; they go with the clusters."""
    connections = [connect(cluster) for cluster in stand.fleet.clusters]
    return [{one.name: Member(one, f"bench-{stand.run}-{name}").open() for one in connections} for name in names]


def _cluster(number: int, file: str) -> dict[str, Any]:
    name, role = f"c{number}", "remote" if number else "production"
    access = {"file": file, "context": name}
    return {"name": name, "role": role, "site": {"name": name, "city": "bench"}, "kubeconfig": access}


def _start_etcd(stack: ExitStack, folder: Path) -> str:
    client, peer = f"http://{LOOPBACK}:{_free_port()}", f"http://{LOOPBACK}:{_free_port()}"
    words = [f"--data-dir={folder / 'etcd'}", "--unsafe-no-fsync=true", "--quota-backend-bytes=8589934592"]
    words += [f"--listen-client-urls={client}", f"--advertise-client-urls={client}"]
    words += [f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}"]
    _start(stack, folder / "etcd.log", [str(binaries.ensure(lambda _: None)["etcd"]), *words])
    return client


def _start_server(stack: ExitStack, folder: Path, pki: Path, etcd: str, number: int) -> int:
    port = _free_port()
    options = {
        "etcd-servers": etcd,
        "etcd-prefix": f"/c{number}",
        "bind-address": LOOPBACK,
        "secure-port": port,
        "tls-cert-file": pki / "admin.crt",
        "tls-private-key-file": pki / "admin.key",
        "client-ca-file": pki / "ca.crt",
        "service-account-key-file": pki / "admin.key",
        "service-account-signing-key-file": pki / "admin.key",
        "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
        "service-cluster-ip-range": "10.96.0.0/16",
        "authorization-mode": "RBAC",
        "disable-admission-plugins": "ServiceAccount",
        "endpoint-reconciler-type": "none",
    }
    words = [f"--{key}={value}" for key, value in options.items()]
    _start(stack, folder / f"server-{number}.log", [str(binaries.ensure(lambda _: None)["kube-apiserver"]), *words])
    return port


def _start(stack: ExitStack, log: Path, command: list[str]) -> None:
    process = subprocess.Popen(command, stdout=log.open("wb"), stderr=subprocess.STDOUT)
    stack.callback(process.wait)
    stack.callback(process.kill)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind((LOOPBACK, 0))
        return int(one.getsockname()[1])


def _kubeconfig(pki: Path, ports: list[int]) -> dict[str, Any]:
    user = {"client-certificate": str(pki / "admin.crt"), "client-key": str(pki / "admin.key")}
    servers = {f"c{number}": f"https://{LOOPBACK}:{port}" for number, port in enumerate(ports)}
    trust = {"certificate-authority": str(pki / "ca.crt")}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": trust | {"server": server}} for name, server in servers.items()],
        "users": [{"name": "admin", "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": "admin"}} for name in servers],
    }


def _prepare(cluster: Any) -> None:
    """Wait until a server is ready, and have the definitions of services installed."""
    connection = connect(cluster)
    until(lambda: _is_ready(connection), 180)
    for name in NAMES:
        install_definition(cluster, name)


def _is_ready(connection: Any) -> bool:
    try:
        return bool(connection.request("GET", "/readyz").status == 200)
    except Exception:  # noqa: BLE001 - nobody listens yet
        return False
