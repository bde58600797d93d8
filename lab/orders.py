"""The image of the application that the drills move: Debian's Python, psycopg, and deployments/apps/orders.

psycopg comes as the wheel that brings libpq along, as locked for Flotilla itself: Debian's asks for a compiler's tools to find
the library, which an image does not have.
"""

from __future__ import annotations

import hashlib
import platform
import re
import sys
import tempfile
from pathlib import Path

from lab import debian
from lab.binaries import Say, alone_in_cache, cache
from lab.commands import run
from lab.images import Image

NAME = "localhost/orders:1"
_ROOT = Path(__file__).parent.parent
_APPLICATION = _ROOT / "deployments" / "apps" / "orders"
_PYTHON = "usr/bin/python3.11"
_MODULES = "usr/lib/python3/dist-packages"  # where Debian's Python looks for them
_DRIVER = {"psycopg", "psycopg-binary", "typing-extensions"}
_LEFT_OUT = (
    *(
        "bin",
        "etc",
        "sbin",
        "usr/bin",
        "usr/sbin",
        "usr/share",
        "usr/include",
        "usr/games",
        "usr/libexec",
        "usr/lib/dpkg",
        "var",
    ),
    *(f"usr/lib/python3.11/{name}" for name in ("test", "idlelib", "lib2to3", "distutils", "ensurepip", "pydoc_data")),
)


def image(say: Say) -> Image:
    """Describe the image; raises LabError where what it is made of can't be had."""
    tree, driver = debian.unpacked(("python3",), say), _driver(say)
    _compile(tree, tree / "usr/lib/python3.11")
    _compile(tree, driver)
    system = {str(file.relative_to(tree)): file for file in sorted(tree.rglob("*")) if _is_kept(file, tree)}
    modules = {f"{_MODULES}/{file.relative_to(driver)}": file for file in sorted(driver.rglob("*")) if file.is_file()}
    application = {f"app/{file.name}": file for file in sorted(_APPLICATION.glob("*.py"))}
    files = {**system, _PYTHON: tree / _PYTHON, **modules, **application}
    return Image(NAME, files, (f"/{_PYTHON}", "-B", "-u", "/app/orders.py"), ("tmp",))


def locked(requirements: str, names: set[str]) -> str:
    """Return the part of a lock file that is about these packages, with their hashes."""
    blocks = re.split(r"^(?=[A-Za-z])", requirements, flags=re.MULTILINE)
    return "".join(block for block in blocks if block.partition("==")[0] in names)


def _driver(say: Say) -> Path:
    """Have psycopg for Debian's Python, in the version that Flotilla's environment has."""
    wanted = locked((_ROOT / "requirements.txt").read_text(), _DRIVER)
    home = cache() / "wheels" / f"psycopg-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}-{platform.machine()}"
    with alone_in_cache("wheels.lock", say):
        if not home.exists():
            _install(wanted, home)
    return home


def _install(wanted: str, home: Path) -> None:
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.parent) as scratch:
        file, unfinished = Path(scratch, "locked.txt"), Path(scratch, "modules")
        file.write_text(wanted)
        foreign = ["--python-version", "3.11", "--python-platform", f"{platform.machine()}-manylinux_2_28"]
        source: list[str | Path] = ["--require-hashes", "--only-binary", ":all:", "--target", unfinished, "-r", file]
        run(sys.executable, "-m", "uv", "pip", "install", "-q", "--no-deps", *foreign, *source, timeout=300)
        unfinished.rename(home)


def _is_kept(file: Path, tree: Path) -> bool:
    path = str(file.relative_to(tree))
    is_left_out = any(path.startswith(f"{name}/") for name in _LEFT_OUT) or "/gconv/" in path or "/perl" in path
    return (file.is_file() or file.is_symlink()) and not is_left_out


def _compile(tree: Path, folder: Path) -> None:
    """Have modules compiled: a pod that must do that by itself takes a second longer to serve."""
    done = folder / ".compiled"
    if not done.exists():
        # By hash and never compared: the files' times are lost in an image.
        words: list[str | Path] = ["-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", folder]
        run(*debian.command(tree, _PYTHON), *words, timeout=300)
        done.touch()
