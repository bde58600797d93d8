"""What the machine must bring along for real nodes: rights, and a few system packages, installed where that can be done."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable
from pathlib import Path

from lab import cgroups
from lab.commands import run, succeeds
from lab.errors import LabError

# A program or file that proves it, and the package that has it: Debian, Fedora, Arch, Alpine.
_NEEDS = {
    "containerd": ("containerd", "containerd", "containerd", "containerd"),
    "ctr": ("containerd", "containerd", "containerd", "containerd-ctr"),
    "runc": ("runc", "runc", "runc", "runc"),
    "bridge": ("containernetworking-plugins", "containernetworking-plugins", "cni-plugins", "cni-plugins"),
    "iptables": ("iptables", "iptables-nft", "iptables-nft", "iptables"),
    "conntrack": ("conntrack", "conntrack-tools", "conntrack-tools", "conntrack-tools"),
    "ip": ("iproute2", "iproute", "iproute2", "iproute2"),
    "nsenter": ("util-linux", "util-linux", "util-linux", "util-linux-misc"),
    "mount": ("mount", "util-linux", "util-linux", "mount"),
    "sysctl": ("procps", "procps-ng", "procps-ng", "procps-ng"),
}
_INSTALLERS = {  # in the order of the columns above
    "apt-get": "apt-get install -y --no-install-recommends",
    "dnf": "dnf install -y",
    "pacman": "pacman -S --needed",
    "apk": "apk add",
}
_INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")
_ENOUGH = 1024  # inotify instances; a lab takes 45, Debian allows 128 to all processes of root together
_CNI_FOLDERS = ("/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni")


def why_no_real_nodes() -> str:
    """Say what keeps real nodes from running here, or nothing."""
    if platform.system() != "Linux":
        return f"real nodes need Linux, this is {platform.system()}"
    if os.geteuid() != 0:
        return "real nodes need root (network namespaces, control groups, mounts)"
    if not succeeds("unshare", "--net", "true"):
        return "this system does not let even root make network namespaces"
    if not cgroups.hierarchies():
        return "no control groups are mounted"
    if not all(os.access(root, os.W_OK) for root in cgroups.hierarchies()):
        return "the control groups are mounted read-only"
    return ""


def what_is_left_out(reason: str) -> str:
    """Say what a lab without real nodes cannot do."""
    return (
        f"simulated nodes only: {reason}. API servers, controllers and schedulers are real; pods are Running by name only: "
        "no traffic, DNS, exec, logs or port-forward, and `cut` stops an API server instead of taking a site's network"
    )


def ensure_packages(say: Callable[[str], None]) -> None:
    """Have the programs that real nodes need; install them with apt, or name them with the command to get them."""
    absent = missing()
    if not absent:
        return
    if not shutil.which("apt-get"):
        raise LabError(f"not installed: {', '.join(absent)}. {advice(absent, _installer())}, or: up --no-real-nodes")
    packages = sorted({_NEEDS[need][0] for need in absent})
    say(f"installing with apt: {', '.join(packages)}")
    env = dict(os.environ) | {"DEBIAN_FRONTEND": "noninteractive"}
    run("apt-get", "update", "-qq", env=env, timeout=600)
    run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages, env=env, timeout=900)
    if absent := missing():
        raise LabError(f"still not there after installing {', '.join(packages)}: {', '.join(absent)}")


def allow_instances(before: Path, say: Callable[[str], None]) -> None:
    """Have the kernel let every lab of this machine watch its files; the limit as it was is kept in the file ``before``."""
    limit = int(_INSTANCES.read_text())
    if limit >= _ENOUGH:
        return
    if not before.exists():
        before.write_text(str(limit))
    _INSTANCES.write_text(str(_ENOUGH))
    say(f"fs.inotify.max_user_instances raised from {limit} to {_ENOUGH}, until the last lab is down")


def restore_instances(before: Path) -> None:
    """Have the limit as it was, unless somebody else has changed it meanwhile."""
    if not before.exists():
        return
    if int(_INSTANCES.read_text()) == _ENOUGH:
        _INSTANCES.write_text(before.read_text())
    before.unlink()


def missing() -> list[str]:
    """List what is needed and not there, by the program that would prove it."""
    return [need for need in _NEEDS if not _there(need)]


def advice(absent: list[str], installer: str) -> str:
    """Say how to get what is absent with this system's installer."""
    column = list(_INSTALLERS).index(installer) if installer in _INSTALLERS else 0
    packages = sorted({_NEEDS[need][column] for need in absent})
    if installer not in _INSTALLERS:
        return f"Install what Debian calls {' '.join(packages)}"
    return f"Get them with: {_INSTALLERS[installer]} {' '.join(packages)}"


def _installer() -> str:
    return next((name for name in _INSTALLERS if shutil.which(name)), "")


def _there(need: str) -> bool:
    if need == "bridge":
        return any(Path(folder, "bridge").exists() for folder in _CNI_FOLDERS)
    return shutil.which(need) is not None
