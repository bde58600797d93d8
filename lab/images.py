"""Container images without a registry: one-layer OCI archives around static programs, imported into every node.

The format is the OCI image layout, https://github.com/opencontainers/image-spec/blob/main/image-layout.md; containerd
takes the image's name from the annotation `io.containerd.image.name`.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import struct
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.binaries import Binaries
from lab.commands import run
from lab.errors import LabError
from lab.layout import ClusterLayout

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_PT_INTERP = 3  # the program header that names a dynamic loader, elf(5)
_MONITORING = (("prometheus", "3.14.0"), ("kube-state-metrics", "2.15.0"), ("node-exporter", "1.12.1"))
PATH = "PATH=/:/bin"  # what an exec without a full path finds


@dataclass(frozen=True)
class Image:
    """What goes into an image: paths inside it to files or folders here, and what is run."""

    name: str
    files: Mapping[str, Path]
    entrypoint: tuple[str, ...]
    folders: tuple[str, ...] = ()


def of_the_lab(binaries: Binaries) -> list[Image]:
    """List the images that every node has from the start; pause first, since no pod starts without it."""
    return [
        Image("localhost/pause:1", {"pause": binaries["pause"]}, ("/pause",)),
        Image("localhost/coredns:1.15.0", {"coredns": binaries["coredns"]}, ("/coredns",)),
        _podinfo("6.7.0", binaries),
        _podinfo("6.9.2", binaries),
        Image("localhost/agnhost:2", {"agnhost": binaries["agnhost"]}, ("/agnhost",), ("tmp",)),
        *(Image(f"localhost/{name}:{version}", {name: binaries[name]}, (f"/{name}",)) for name, version in _MONITORING),
    ]


def archives(binaries: Binaries, folder: Path) -> list[Path]:
    """Have the lab's images as archives in the cache, made where they are not there yet."""
    return [archive(image, folder) for image in of_the_lab(binaries)]


def archive(image: Image, folder: Path) -> Path:
    """Have an image as an archive, named after its name and the programs in it."""
    sources = " ".join(f"{path}={source.resolve()}:{source.stat().st_mtime_ns}" for path, source in image.files.items())
    digest = hashlib.sha256(f"{image} {PATH} {sources}".encode()).hexdigest()[:12]
    file = folder / f"{image.name.replace('/', '_').replace(':', '_')}-{digest}.tar"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(f".{os.getpid()}.unfinished")  # another lab may be writing the same one just now
        write(image, unfinished)
        unfinished.rename(file)
    return file


def write(image: Image, file: Path) -> None:
    """Write an image as an OCI archive."""
    layer = _layer(image)
    architecture = _ARCHITECTURES.get(platform.machine(), platform.machine())
    config = _json(
        {
            "architecture": architecture,
            "os": "linux",
            "config": {"Entrypoint": list(image.entrypoint), "WorkingDir": "/", "Env": [PATH]},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": _descriptor(_CONFIG, config),
            "layers": [_descriptor(_LAYER, layer)],
        }
    )
    named = {"annotations": {"io.containerd.image.name": image.name}}
    index = _json({"schemaVersion": 2, "manifests": [_descriptor(_MANIFEST, manifest) | named]})
    with tarfile.open(file, "w") as out:
        _add(out, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        _add(out, "index.json", index)
        for blob in (config, manifest, layer):
            _add(out, f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}", blob)


def import_into(cluster: ClusterLayout, file: Path, name: str | None = None) -> list[str]:
    """Import an archive into a cluster's node, under a further name if one is given; return the images' names."""
    # Unpacked when a container first needs it: most nodes run few of the images that they hold.
    run(*_ctr(cluster), "images", "import", "--no-unpack", file, timeout=300)
    found = names_in(file)
    if name and name not in found:
        run(*_ctr(cluster), "images", "tag", "--force", found[0], name)
        found.append(name)
    return found


def names(cluster: ClusterLayout) -> set[str]:
    """List the images in a cluster's node by name."""
    return set(run(*_ctr(cluster), "images", "list", "--quiet").split())


def is_archive(file: Path) -> bool:
    """Tell whether a file is an image archive, OCI or Docker."""
    if not tarfile.is_tarfile(file):
        return False
    with tarfile.open(file) as content:
        return any(name.removeprefix("./") in {"index.json", "manifest.json"} for name in content.getnames())


def names_in(file: Path) -> list[str]:
    """Read the images' names off an archive: OCI's annotations, else Docker's tags."""
    with tarfile.open(file) as content:
        manifests = _member(content, "index.json").get("manifests", [])
        entries = _member(content, "manifest.json").get("entries", [])
    named = [entry.get("annotations", {}).get("io.containerd.image.name") for entry in manifests]
    return [name for name in named if name] or [tag for entry in entries for tag in entry.get("RepoTags") or []]


def around_program(file: Path, name: str) -> Image:
    """Describe an image around a static program, or refuse what is none."""
    complaint = static_complaint(file.read_bytes()[:65536])
    if complaint:
        raise LabError(f"{file} is neither an image archive nor a static Linux program: {complaint}")
    return Image(name, {file.name: file}, (f"/{file.name}",), ("tmp",))


def static_complaint(head: bytes) -> str:
    """Say why a file with this beginning cannot run in an empty image, or nothing if it can: ELF64, no loader, elf(5)."""
    if head[:4] != b"\x7fELF" or head[4] != 2:
        return "it does not begin like a 64-bit ELF file"
    offset = struct.unpack_from("<Q", head, 32)[0]
    size, count = struct.unpack_from("<HH", head, 54)
    kinds = [struct.unpack_from("<I", head, offset + size * i)[0] for i in range(count)]
    return "it needs a dynamic loader; build it static (CGO_ENABLED=0 for Go)" if _PT_INTERP in kinds else ""


def _podinfo(version: str, binaries: Binaries) -> Image:
    program = binaries[f"podinfo-{version}"]
    files = {"podinfo": program, "ui": program.parent / "ui"}
    return Image(f"localhost/podinfo:{version}", files, ("/podinfo",), ("tmp", "data"))


def _ctr(cluster: ClusterLayout) -> list[str]:
    return ["ctr", "--address", str(cluster.socket), "--namespace", "k8s.io"]


def _layer(image: Image) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as layer:
        for folder in image.folders:
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, 0o1777
            layer.addfile(info)
        for path, source in _files(image):
            if source.is_symlink():
                _link(layer, path, str(source.readlink()))
            else:
                _add(layer, path, source.read_bytes(), 0o755)
    return out.getvalue()


def _files(image: Image) -> Iterator[tuple[str, Path]]:
    for path, source in image.files.items():
        if source.is_dir() and not source.is_symlink():
            yield from ((f"{path}/{file.relative_to(source)}", file) for file in sorted(source.rglob("*")) if file.is_file())
        else:
            yield path, source


def _add(archive_: tarfile.TarFile, path: str, content: bytes, mode: int = 0o644) -> None:
    info = tarfile.TarInfo(path)
    info.size, info.mode = len(content), mode
    archive_.addfile(info, io.BytesIO(content))


def _link(archive_: tarfile.TarFile, path: str, target: str) -> None:
    info = tarfile.TarInfo(path)
    info.type, info.linkname = tarfile.SYMTYPE, target
    archive_.addfile(info)


def _member(content: tarfile.TarFile, name: str) -> dict[str, Any]:
    """Read a JSON file of an archive, a list as {"entries": list}; nothing where it is not there."""
    found = next((member for member in content.getmembers() if member.name.removeprefix("./") == name), None)
    file = content.extractfile(found) if found else None
    value = json.load(file) if file else {}
    return {"entries": value} if isinstance(value, list) else value


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _descriptor(kind: str, content: bytes) -> dict[str, object]:
    return {"mediaType": kind, "digest": _digest(content), "size": len(content)}


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()
