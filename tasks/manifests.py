"""Read Applications and the manifests that they refer to: files, directories, kustomizations and Helm charts."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from flotilla.application import Reference, Source, parse, referenced_files, render
from flotilla.errors import InvalidInput, Permanent, Problem, phrase
from flotilla.fleet import Fleet
from flotilla.intent import Intent
from flotilla.objects import Manifest
from flotilla.validation import read_documents

YAML_SUFFIXES = (".yaml", ".yml", ".json")
RENDER_SECONDS = 60  # a chart or kustomization that takes longer waits for something that will not come


def load_application(paths: Sequence[str | Path], fleet: Fleet, images: Mapping[str, str] | None = None) -> Intent:
    """Return what the Application in some files or directories asks of a fleet, its ref-objects read from the disk.

    Raises InvalidInput naming every problem, Permanent where kustomize or helm is needed and missing or fails.
    """
    application = parse(read_texts(paths))
    return render(application, fleet, images=images, files=read_references(referenced_files(application)))


def read_texts(paths: Iterable[str | Path]) -> dict[str, str]:
    """Return the texts of files, and of the YAML files in directories, by path."""
    files = [file for path in paths for file in _files(Path(path))]
    return {str(file): _text(file) for file in files}


def read_references(references: Iterable[Reference]) -> dict[Reference, tuple[Manifest, ...]]:
    """Return the manifests of each reference."""
    return {reference: _read(reference) for reference in references}


def _read(reference: Reference) -> tuple[Manifest, ...]:
    path = Path(reference.base).parent / reference.path
    match reference.source:
        case Source.FILE:
            return _manifests(_text(path), str(path))
        case Source.DIRECTORY:
            return tuple(one for file in _files(path) for one in _manifests(_text(file), str(file)))
        case Source.KUSTOMIZATION:
            return _manifests(_output([*_kustomize(path), str(path)]), f"kustomization {path}")
    command = [_program("helm", path), "template", reference.release, str(path), "--namespace", reference.namespace]
    return _manifests(_output([*command, "--include-crds", "--values", "-"], reference.values or "{}"), f"chart {path}")


def _files(path: Path) -> list[Path]:
    """Return a file, or the YAML files of a directory in the order of their names."""
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.iterdir() if file.suffix in YAML_SUFFIXES)
    if not found:
        raise InvalidInput(
            [Problem(str(path), "", phrase("holds no manifests"), f"files ending in {', '.join(YAML_SUFFIXES)}")]
        )
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput([Problem(str(path), "", phrase(f"cannot be read: {error}"), "a readable UTF-8 file")]) from None


def _manifests(text: str, origin: str) -> tuple[Manifest, ...]:
    """Return the objects of a YAML text, those of a List one by one."""
    manifests: list[Manifest] = []
    problems = []
    for index, document in enumerate(read_documents(text, origin)):
        if not isinstance(document, dict) or not isinstance(document.get("kind"), str):
            problems.append(Problem(origin, f"document {index + 1}", document, "an object with apiVersion and kind"))
        elif document["kind"].endswith("List") and isinstance(document.get("items"), list):
            manifests += document["items"]
        else:
            manifests.append(document)
    if problems:
        raise InvalidInput(problems)
    return tuple(manifests)


def _kustomize(path: Path) -> list[str]:
    if program := shutil.which("kustomize"):
        return [program, "build"]
    if program := shutil.which("kubectl"):
        return [program, "kustomize"]
    raise Permanent(f"{path}: a kustomization needs kustomize or kubectl on the PATH, and neither is there")


def _program(name: str, path: Path) -> str:
    if program := shutil.which(name):
        return program
    raise Permanent(f"{path}: a chart needs {name} on the PATH, and it is not there")


def _output(command: Sequence[str], stdin: str = "") -> str:
    """Return what a program prints; raises Permanent with its last words if it fails."""
    shown = " ".join(command[:2])
    try:
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, encoding="utf-8", check=False, timeout=RENDER_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise Permanent(f"{shown}: no answer within {RENDER_SECONDS} s") from None
    if done.returncode != 0:
        raise Permanent(f"{shown} ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
    return done.stdout
