"""The programs that the lab runs: built once from pinned Go modules into a cache that all checkouts share.

No package registry ships a kube-apiserver, so each set is a folder under lab/modules with a go.mod and a go.sum that pin
every source by its hash. What KUBEBUILDER_ASSETS or PATH already has in a fitting version is used instead.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lab import golang
from lab.commands import run
from lab.errors import CommandFailed, LabError

MODULES = Path(__file__).parent / "modules"

_KUBERNETES = "v1.37.2"
_VERSION = "k8s.io/component-base/version"
_STRIPPED = "-s -w"
_NAMED = f"{_STRIPPED} -X {_VERSION}.gitVersion={_KUBERNETES} -X {_VERSION}.gitMajor=1 -X {_VERSION}.gitMinor=37"
_ONLY_KUBERNETES = "remove_all_sd,enable_kubernetes_sd"
_VICTORIA = "github.com/VictoriaMetrics/VictoriaMetrics/app"
_VICTORIA_NAMED = f"{_STRIPPED} -X github.com/VictoriaMetrics/VictoriaMetrics/lib/buildinfo.Version=v1.130.0"


@dataclass(frozen=True)
class Binary:
    """One program: the package that it is built from, how long that takes on two cores, how to tell its version.

    `fits` is what the output of a found program must hold; empty where only our own build will do: what goes into an image
    must be static. `folder` names a folder or file of the package's module that is wanted beside the program, `tags` what
    of the program is left out.
    """

    name: str
    module: str
    package: str
    seconds: int
    fits: str = ""
    asks: tuple[str, ...] = ("--version",)
    ldflags: str = _STRIPPED
    folder: str = ""
    tags: str = ""


def _kubernetes(name: str, seconds: int, asks: tuple[str, ...] = ("--version",)) -> Binary:
    return Binary(name, "kubernetes", f"k8s.io/kubernetes/cmd/{name}", seconds, "v1.37.", asks, _NAMED)


def _podinfo(version: str) -> Binary:
    package = "github.com/stefanprodan/podinfo/cmd/podinfo"
    return Binary(f"podinfo-{version}", f"podinfo-{version}", package, 22, folder="ui")


BINARIES = (
    _kubernetes("kube-apiserver", 210),
    _kubernetes("kube-controller-manager", 60),
    _kubernetes("kube-scheduler", 20),
    _kubernetes("kubelet", 45),
    _kubernetes("kube-proxy", 15),
    _kubernetes("kubectl", 20, ("version", "--client")),
    Binary("agnhost", "kubernetes", "k8s.io/kubernetes/test/images/agnhost", 10),
    Binary("etcd", "kubernetes", "go.etcd.io/etcd/server/v3", 10, "etcd Version: 3.7."),
    Binary("kwok", "kwok", "sigs.k8s.io/kwok/cmd/kwok", 50, "v0.8."),
    Binary("kwokctl", "kwok", "sigs.k8s.io/kwok/cmd/kwokctl", 25, "v0.8."),
    Binary("coredns", "coredns", "github.com/coredns/coredns", 100),
    _podinfo("6.7.0"),
    _podinfo("6.9.2"),
    Binary("pause", "pause", ".", 2),
    Binary("prometheus", "prometheus", "github.com/prometheus/prometheus/cmd/prometheus", 90, tags=_ONLY_KUBERNETES),
    Binary("kube-state-metrics", "kube-state-metrics", "k8s.io/kube-state-metrics/v2", 70),
    Binary("node-exporter", "node-exporter", "github.com/prometheus/node_exporter", 20),
    Binary("victoria-metrics", "victoriametrics", f"{_VICTORIA}/victoria-metrics", 50, ldflags=_VICTORIA_NAMED),
    Binary("alertmanager", "alertmanager", "github.com/prometheus/alertmanager/cmd/alertmanager", 55),
    Binary("vmalert", "victoriametrics", f"{_VICTORIA}/vmalert", 15, ldflags=_VICTORIA_NAMED),
)

Say = Callable[[str], None]


@dataclass(frozen=True)
class Binaries:
    """Where each program is."""

    paths: Mapping[str, Path] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Path:
        return self.paths[name]


def cache() -> Path:
    """Return the folder that all checkouts of this user share."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("FLOTILLA_CACHE") or base) / "flotilla"


def ensure(say: Say) -> Binaries:
    """Have every program: from the cache, from this machine, or built; two checkouts never build at once."""
    homes = {binary: _home(binary) for binary in BINARIES}
    found = {binary.name: path for binary in BINARIES if (path := _present(binary, homes[binary]))}
    missing = [binary for binary in BINARIES if binary.name not in found]
    if missing:
        with alone_in_cache("build.lock", say):
            found |= _build_all(missing, homes, say)
    return Binaries(found)


def have(binary: Binary, say: Say) -> Path:
    """Have one program that is built on demand only: its path in the cache."""
    home = _home(binary)
    if not (home / binary.name).exists():
        with alone_in_cache("build.lock", say):
            _build_all([binary], {binary: home}, say)
    return home / binary.name


def _home(binary: Binary) -> Path:
    """Return the cache folder of a program, named after all that it is made of."""
    digest = hashlib.sha256(f"{binary.package} {binary.ldflags}{binary.tags}".encode())
    for source in sorted((MODULES / binary.module).glob("*.*")):
        digest.update(source.name.encode() + source.read_bytes())
    return cache() / "bin" / f"{binary.name}-{digest.hexdigest()[:12]}"


def _present(binary: Binary, home: Path) -> Path | None:
    """Find the program where it already is."""
    built = home / binary.name
    return built if built.exists() else _found_on_machine(binary)


def _found_on_machine(binary: Binary) -> Path | None:
    if not binary.fits:
        return None
    search = os.pathsep.join(filter(None, [os.environ.get("KUBEBUILDER_ASSETS"), os.environ.get("PATH")]))
    path = shutil.which(binary.name, path=search)
    return Path(path).absolute() if path and _version_fits(Path(path), binary) else None


def _version_fits(path: Path, binary: Binary) -> bool:
    try:
        return binary.fits in run(path, *binary.asks, timeout=20)
    except (CommandFailed, OSError):
        return False


@contextmanager
def alone_in_cache(name: str, say: Say) -> Iterator[None]:
    """Hold a lock of the cache against all other labs of this user, who may be filling it just now."""
    lock = cache() / name
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another lab is building; waiting for it ({lock})")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _build_all(missing: list[Binary], homes: Mapping[Binary, Path], say: Say) -> dict[str, Path]:
    missing = [binary for binary in missing if not (homes[binary] / binary.name).exists()]  # another one's work, meanwhile
    go = golang.ensure(cache(), say) if missing else Path()
    started = time.monotonic()
    for done, binary in enumerate(missing):
        say(progress(missing, done, time.monotonic() - started))
        _build(binary, homes[binary], go)
    if missing:
        say(f"{len(missing)} programs built in {time.monotonic() - started:.0f} s, kept in {cache() / 'bin'}")
    return {binary.name: homes[binary] / binary.name for binary in homes if (homes[binary] / binary.name).exists()}


def progress(missing: list[Binary], done: int, elapsed: float) -> str:
    """Say what is built now, what is done, and how long the rest takes, going by what took how long so far."""
    expected = sum(binary.seconds for binary in missing[:done])
    pace = elapsed / expected if expected > 60 else 1.0  # below a minute the sample is too small to go by
    left = pace * sum(binary.seconds for binary in missing[done:])
    return (
        f"building {missing[done].name} ({done} of {len(missing)} done, about {max(1, round(left / 60))} min left on two cores)"
    )


def _build(binary: Binary, home: Path, go: Path) -> None:
    home.mkdir(parents=True, exist_ok=True)
    module, unfinished = MODULES / binary.module, home / f"{binary.name}.unfinished"
    env = dict(os.environ) | {"CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}
    flags = ["-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", binary.ldflags, "-tags", binary.tags]
    try:
        run(go, "build", *flags, "-o", unfinished, binary.package, cwd=module, env=env, timeout=3600)
    except CommandFailed as error:
        raise LabError(
            f"{binary.name} could not be built from {module}: {error}. Is there a way to the Go module proxy?"
        ) from None
    if binary.folder:
        source = run(go, "list", "-f", "{{.Module.Dir}}", binary.package, cwd=module, env=env).strip()
        _copy(Path(source) / binary.folder, home)
    unfinished.rename(home / binary.name)


def _copy(source: Path, home: Path) -> None:
    """Copy a folder or a file beside the program; the module cache is read-only, what is copied is not."""
    if source.is_dir():
        shutil.copytree(source, home / source.name, dirs_exist_ok=True, copy_function=shutil.copyfile)
    else:
        shutil.copyfile(source, home / source.name)
