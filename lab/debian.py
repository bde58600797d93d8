"""Debian's packages without installing them: unpacked, with all that they need, into a folder of the cache.

Nothing of this machine changes: no service that a package would start, no library that others use, no entry in dpkg's
register. apt resolves against an empty register, so what comes is complete whatever this machine has, and checks every
file against the archive's signed lists.
"""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lab.binaries import Say, alone_in_cache, cache
from lab.commands import run
from lab.errors import CommandFailed, LabError

_DOWNLOAD_PATIENCE = 900  # seconds


def unpacked(packages: Sequence[str], say: Say) -> Path:
    """Have the packages, with what they depend on, as a file tree; raises LabError where that can't be had."""
    home = cache() / "debian" / f"{'+'.join(packages)}-{_release()}"
    if home.exists():
        return home
    if not shutil.which("apt-get"):
        raise LabError(f"no apt-get here to get Debian's {' '.join(packages)} with: {home} may be filled by hand instead")
    with alone_in_cache("debian.lock", say):
        if not home.exists():
            say(f"getting Debian's {' '.join(packages)}; once a machine")
            _fill(home, packages)
    return home


def triplet() -> str:
    """Return what Debian calls this machine's folder of libraries."""
    return f"{platform.machine()}-linux-gnu"


def command(tree: Path, program: str) -> list[str]:
    """Say how to begin a command that runs a program of the tree by the tree's own loader and libraries, not this machine's."""
    loaders = sorted([*(tree / "lib64").glob("ld-linux*"), *(tree / "lib").glob("ld-linux*")])
    if not loaders:
        raise LabError(f"{tree} has no dynamic loader: delete it, it is made again")
    libraries = os.pathsep.join(str(tree / folder / triplet()) for folder in ("lib", "usr/lib"))
    return [str(loaders[0]), "--library-path", libraries, str(tree / program)]


def _fill(home: Path, packages: Sequence[str]) -> None:
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.parent) as scratch:
        archives, tree = Path(scratch, "archives"), Path(scratch, "tree")
        (archives / "partial").mkdir(parents=True)
        tree.mkdir(mode=0o755)
        try:
            _download(archives, packages)
        except CommandFailed:
            run("apt-get", "update", "-qq", timeout=_DOWNLOAD_PATIENCE)  # the lists may be of a while ago, or not there
            _download(archives, packages)
        for file in sorted(archives.glob("*.deb")):
            run("dpkg-deb", "--extract", file, tree)
        tree.rename(home)


def _download(archives: Path, packages: Sequence[str]) -> None:
    register = archives.parent / "register"
    register.touch()
    options = {
        "Dir::State::status": register,
        "Dir::Cache::archives": archives,
        "APT::Sandbox::User": "root",
        "Debug::NoLocking": "1",
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    run(
        "apt-get",
        *words,
        "-y",
        "-qq",
        "--no-install-recommends",
        "--download-only",
        "install",
        *packages,
        timeout=_DOWNLOAD_PATIENCE,
    )


def _release() -> str:
    """Return the system's release and architecture: what a package is, is told by these."""
    lines = dict(line.partition("=")[::2] for line in Path("/etc/os-release").read_text().splitlines())
    return f"{lines.get('VERSION_CODENAME', 'unknown')}-{platform.machine()}"
