"""CloudNativePG in a lab's clusters, on demand: its operator, an image with Debian's PostgreSQL, volumes, certificates.

There is no image registry: both images are made here. The operator's manifest comes with its Go module, pinned by its hash.
Not part of `up`; what is made of it in the clusters goes with them.
"""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization

from lab import binaries, databases, debian, images
from lab.binaries import Binary, Say, cache
from lab.commands import run
from lab.images import Image
from lab.layout import ClusterLayout, Layout

VERSION = "1.30.0"
OPERATOR, POSTGRES = f"localhost/cloudnative-pg:{VERSION}", "localhost/postgresql:15"
NAMESPACE, STORAGE_CLASS, AUTHORITY, SERVER = "orders", "lab", "orders-authority", "orders-server"
NODE_PORT = 30432  # of each site's database, at the site's own address
PROGRAM = Binary(
    "cloudnative-pg",
    "cloudnative-pg",
    "github.com/cloudnative-pg/cloudnative-pg/cmd/manager",
    150,
    folder=f"releases/cnpg-{VERSION}.yaml",
)
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_PACKAGES = ("postgresql-15", "dash")  # archive_command is run by a shell
_KEPT = ("bin/sh", "bin/dash", "lib/", "lib64/", "usr/lib/", "usr/share/postgresql/", "usr/share/zoneinfo/")
_LEFT_OUT = re.compile(r"/(perl[^/]*|gconv|llvmjit[^/]*|bitcode|systemd|python3[^/]*)(/|$)|libLLVM|libperl|libz3")
_USERS = {"passwd": "postgres:x:26:26::/var/lib/postgresql:/bin/sh\n", "group": "postgres:x:26:\n"}
_UID = 26  # the user that the operator has PostgreSQL run as, by default
_VOLUMES = 6  # a site's: a copy made anew takes another one
_PATIENCE = "180s"


def ensure(layout: Layout, say: Say) -> None:
    """Have the operator ready in every cluster, and all that a site's database there is made of."""
    program = binaries.have(PROGRAM, say)
    archives = [images.archive(image, cache() / "images") for image in (_operator(program), _postgres(say))]
    manifest = _manifest(program.parent / f"cnpg-{VERSION}.yaml")
    with ThreadPoolExecutor(len(layout.clusters)) as pool:
        list(pool.map(lambda cluster: _install(cluster, layout, archives, manifest), layout.clusters))


def _install(cluster: ClusterLayout, layout: Layout, archives: Iterable[Path], manifest: str) -> None:
    there = images.names(cluster)
    for file in archives:
        if not set(images.names_in(file)) <= there:
            images.import_into(cluster, file)
    _apply(cluster, layout, manifest)
    _apply(cluster, layout, _documents([*_volumes(cluster), *_secrets(cluster)]))
    kubectl(cluster, layout, "-n", "cnpg-system", "rollout", "status", f"--timeout={_PATIENCE}", "deployment", "-l", _LABEL)


_LABEL = "app.kubernetes.io/name=cloudnative-pg"


def kubectl(cluster: ClusterLayout, layout: Layout, *words: str) -> str:
    """Return what kubectl says, asked of one cluster; raises CommandFailed."""
    program = layout.directory / "bin" / "kubectl"
    return run(program, "--kubeconfig", layout.kubeconfig, "--context", cluster.name, *words, timeout=240)


def _apply(cluster: ClusterLayout, layout: Layout, text: str) -> None:
    """Have objects so, from a file: the definitions are too long for an annotation, hence by the server."""
    file = cluster.directory / f"cloudnative-pg-{os.getpid()}.yaml"
    file.write_text(text)
    try:
        kubectl(cluster, layout, "apply", "--server-side", "--force-conflicts", "-f", str(file))
    finally:
        file.unlink()


def _manifest(file: Path) -> str:
    """Return the operator's manifest with the lab's image; a tenth of a core would be too little for a start here."""
    text = re.sub(r"\S+/cloudnative-pg/cloudnative-pg:\S+", OPERATOR, file.read_text())
    text = text.replace("imagePullPolicy: Always", "imagePullPolicy: IfNotPresent")
    return text.replace("cpu: 100m\n            memory: 200Mi", "memory: 400Mi")


def _operator(program: Path) -> Image:
    """Describe the operator's image: it looks for its own program by architecture, and pods copy /manager from it."""
    name = f"operator/manager_{_ARCHITECTURES.get(platform.machine(), platform.machine())}"
    link = program.parent / "manager"
    (program.parent / name).parent.mkdir(exist_ok=True)
    if not (program.parent / name).exists():
        (program.parent / name).hardlink_to(program)
    if not link.is_symlink():
        link.symlink_to(name)
    return Image(OPERATOR, {name: program, "manager": link}, ("/manager",), ("tmp",))


def _postgres(say: Say) -> Image:
    """Describe PostgreSQL's image: Debian's files at their usual paths, its programs on the PATH, the user 26."""
    tree, home = debian.unpacked(_PACKAGES, say), cache() / "cloudnative-pg"
    system = {str(file.relative_to(tree)): file for file in sorted(tree.rglob("*")) if _is_kept(file, tree)}
    programs = sorted((tree / "usr/lib/postgresql/15/bin").iterdir())
    links = {f"bin/{file.name}": _link(home / "bin" / file.name, file.relative_to(tree)) for file in programs}
    users = {f"etc/{name}": _written(home / name, text) for name, text in _USERS.items()}
    return Image(POSTGRES, {**system, **links, **users}, ("/bin/sh",), ("tmp",))


def _link(path: Path, target: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_symlink():
        path.symlink_to(f"../{target}")
        # archive() asks when the file was last changed, and a link that leads nowhere here has no answer
        file = path.parent.parent / target
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return path


def _written(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        file.write_text(text)
    return file


def _is_kept(file: Path, tree: Path) -> bool:
    path = str(file.relative_to(tree))
    return path.startswith(_KEPT) and not _LEFT_OUT.search(path) and (file.is_file() or file.is_symlink()) and file.exists()


def _volumes(cluster: ClusterLayout) -> Iterable[dict[str, Any]]:
    """Yield a class without a provisioner and its volumes: folders of the site that PostgreSQL's user in the pods may fill."""
    yield {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": STORAGE_CLASS},
        "provisioner": "kubernetes.io/no-provisioner",
    }
    for number in range(_VOLUMES):
        folder = cluster.databases / cluster.name / "volumes" / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        os.chown(folder, _UID, _UID)
        folder.chmod(0o700)
        spec = {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": STORAGE_CLASS,
            "hostPath": {"path": str(folder)},
        }
        name = {"name": f"volume-{number}"}
        yield {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": name, "spec": spec}


def _secrets(cluster: ClusterLayout) -> Iterable[dict[str, Any]]:
    """Yield the authority of all sites, by which they know each other's standbys, and this site's certificate of it."""
    one = databases.of(cluster)
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    authority = {"ca.crt": one.ca.read_text(), "ca.key": _as_sec1(one.ca.with_name("ca.key"))}
    server = {
        "tls.crt": one.ca.with_name(f"{one.site}.pem").read_text(),
        "tls.key": one.ca.with_name(f"{one.site}.key").read_text(),
    }
    yield _secret(AUTHORITY, "Opaque", authority)
    yield _secret(SERVER, "kubernetes.io/tls", server)


def _as_sec1(file: Path) -> str:
    """Return a key as the operator takes it: it refuses PKCS 8 ("invalid private key PEM block type")."""
    key = serialization.load_pem_private_key(file.read_bytes(), None)
    form, plain = serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, plain).decode()


def _secret(name: str, kind: str, data: dict[str, str]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": metadata, "stringData": data}


def _documents(objects: Iterable[dict[str, Any]]) -> str:
    return "\n---\n".join(json.dumps(one) for one in objects)  # JSON is YAML
