"""A mount namespace a site: what containerd and kubelet mount stays inside, and so do the folders built into them.

Kubelet, containerd and CNI write to a few fixed folders whatever they are told. Three kubelets would overwrite each other's
sockets there, and those of a kubelet that this machine may have of its own. In a site's namespace these folders are the lab's.
"""

from __future__ import annotations

from pathlib import Path

from lab import mounts
from lab.commands import run
from lab.layout import ClusterLayout
from lab.slots import registry

RUNTIME = Path("/run/containerd")
_BUILT_IN = (Path("/var/lib/kubelet"), Path("/var/lib/cni"), Path("/var/log/containers"), RUNTIME)


def create(cluster: ClusterLayout) -> None:
    """Have the site's mount namespace, held by a file, with folders of its own over the built-in ones."""
    if exists(cluster):
        return
    _have_private_folder()
    file(cluster).touch()
    # What this machine mounts later is seen inside; what is mounted inside is not seen by the machine.
    run("unshare", f"--mount={file(cluster)}", "--propagation", "slave", "true")
    run(*_entering(cluster), "mount", "--make-rshared", "/")  # lets pods ask for mount propagation among themselves
    for built_in in _BUILT_IN:
        own = folder(cluster, built_in)
        own.mkdir(parents=True, exist_ok=True)
        built_in.mkdir(parents=True, exist_ok=True)
        run(*_entering(cluster), "mount", "--bind", own, built_in)


def remove(cluster: ClusterLayout) -> None:
    """Let go of the site's mount namespace; it ends, with all that is mounted in it, once no process is inside."""
    if exists(cluster):
        run("umount", file(cluster))
    file(cluster).unlink(missing_ok=True)


def remove_last() -> None:
    """Remove what the namespaces of all labs share on this machine, once there is no lab any more."""
    folder = _folder()
    if _is_mounted(folder):
        run("umount", folder)
    if folder.exists():
        folder.rmdir()
    for built_in in _BUILT_IN:
        if built_in.exists() and not any(built_in.iterdir()):
            built_in.rmdir()


def folder(cluster: ClusterLayout, built_in: Path) -> Path:
    """Name the site's own folder that takes the place of one that is built in."""
    return cluster.directory / "built-in" / built_in.relative_to("/")


def exists(cluster: ClusterLayout) -> bool:
    """Tell whether the site has its mount namespace."""
    return _is_mounted(file(cluster))


def file(cluster: ClusterLayout) -> Path:
    """Name the file by which others enter the namespace."""
    return _folder() / cluster.namespace


def _entering(cluster: ClusterLayout) -> tuple[str, ...]:
    return ("nsenter", f"--mount={file(cluster)}", "--")


def _folder() -> Path:
    return registry() / "mounts"


def _is_mounted(point: Path) -> bool:
    return any(mount.point == point for mount in mounts.mounts())


def _have_private_folder() -> None:
    """Have a folder that does not propagate: the kernel refuses to hold a mount namespace anywhere else."""
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    if not _is_mounted(folder):
        run("mount", "--bind", folder, folder)
        run("mount", "--make-private", folder)
