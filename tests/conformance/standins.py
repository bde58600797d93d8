"""Images under the names that the suite asks for, made of this machine's own programs: nothing is fetched.

What is in upstream's images and unused by the suite is not in these.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import lab
from lab import binaries, images
from lab.commands import run
from lab.errors import LabError

NAMES = ("docker.io/alpine/socat:1.7.4.4", "docker.io/nicolaka/netshoot:v0.15")
# A path in the image, the program that is put there, and Debian's package of it.
PROGRAMS = {
    "bin/sh": ("dash", "dash"),
    "grep": ("grep", "grep"),
    "awk": ("mawk", "mawk"),
    "tr": ("tr", "coreutils"),
    "tail": ("tail", "coreutils"),
    "sleep": ("sleep", "coreutils"),
    "socat": ("socat", "socat"),
    "nc": ("nc.openbsd", "netcat-openbsd"),
    "nslookup": ("nslookup", "bind9-dnsutils"),
}
Say = Callable[[str], None]


def ensure(say: Say) -> None:
    """Have the images in every node of the lab; raises LabError where a program of theirs cannot be had."""
    _ensure_programs(say)
    # Without an entrypoint: the suite's pods name what is run as arguments alone.
    archive = images.archive(images.Image(NAMES[0], _files(), (), ("tmp",)), binaries.cache() / "images")
    for name in NAMES:
        lab.image(archive, name)
    say(f"stand-ins {', '.join(NAMES)} of {archive.stat().st_size / 1e6:.0f} MB in every node")


def missing() -> dict[str, str]:
    """Return the programs that are not there, with Debian's package of each."""
    return {program: package for program, package in PROGRAMS.values() if not shutil.which(program)}


def libraries(listed: str) -> list[str]:
    """Read the paths of shared libraries off what ldd printed; raises LabError where it found one missing."""
    if lost := re.findall(r"(\S+) => not found", listed):
        raise LabError(f"a program of this machine lacks its own libraries {', '.join(lost)}: repair its package")
    return re.findall(r"(/\S+) \(0x[0-9a-f]+\)", listed)


def _ensure_programs(say: Say) -> None:
    absent = missing()
    if not absent:
        return
    wanted = ", ".join(f"{program} (Debian's {package})" for program, package in absent.items())
    if os.geteuid() or not shutil.which("apt-get"):
        raise LabError(f"the images that the suite asks for need {wanted}: install what is missing")
    say(f"installing with apt: {wanted}")
    env = dict(os.environ) | {"DEBIAN_FRONTEND": "noninteractive"}
    run("apt-get", "update", "-qq", env=env, timeout=600)
    packages = sorted(set(absent.values()))
    run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages, env=env, timeout=900)
    if absent := missing():
        raise LabError(f"still not there after installing {', '.join(packages)}: {', '.join(absent)}")


def _files() -> dict[str, Path]:
    programs = {path: Path(str(shutil.which(program))) for path, (program, _) in PROGRAMS.items()}
    needed = {library for program in programs.values() for library in libraries(run("ldd", program))}
    return programs | {library.lstrip("/"): Path(library) for library in sorted(needed)}
