"""The suite as a program: what it is told, where it runs, what it leaves."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.clusters import Connection
from tests.tasks.fleetset import CLUSTERS, until

NAMESPACES = "mcs-conformance-"  # what the names of the suite's own namespaces begin with
ENDING = 120.0  # seconds; upstream's pods take their 30 s to end, the last spec's last
PATIENCE = 3600.0  # seconds for all specs; 350 to 450 are usual on two cores


def checked(name: str) -> Path:
    """Return the suite's program; ends this one where there is none."""
    if name and os.access(name, os.X_OK) and Path(name).is_file():
        return Path(name).resolve()
    raise SystemExit(
        f"{f'{name} is no program' if name else 'no suite given'}: expected SUITE=FILE, the compiled test program of "
        f"sigs.k8s.io/mcs-api/conformance for v1beta1. It is not built here: the Go module proxy does not have that module"
    )


def fingerprint(program: Path) -> str:
    """Return the first digits of the program's SHA-256, so that a result tells of which suite it is."""
    with program.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()[:12]


def command(program: Path, kubeconfig: str, report: Path, focus: str = "") -> list[str]:
    """Return the suite's command line: all clusters, every spec, nothing left out unless ``focus`` says so."""
    told = ["-kubeconfig", kubeconfig, "-contexts", ",".join(CLUSTERS), f"-ginkgo.json-report={report}", "-ginkgo.no-color"]
    return [str(program), *told, *([f"-ginkgo.focus={focus}"] if focus else [])]


def run(program: Path, kubeconfig: str, focus: str = "") -> Any:
    """Run the suite and return its report; raises SystemExit with the suite's exit code where it left none."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "specs.json"
        # Its own words go where progress goes; the pages that it writes beside itself are gone with the folder.
        process = subprocess.Popen(command(program, kubeconfig, report, focus), cwd=folder, stdout=sys.stderr)
        try:
            process.wait(PATIENCE)
        finally:
            _end(process)
        if not report.exists():
            raise SystemExit(f"the suite ended with {process.returncode} and left no report; its last words are above")
        return json.loads(report.read_text())


def sweep(connections: Sequence[Connection]) -> None:
    """Have none of the suite's namespaces in any cluster, also after a run that was interrupted."""
    for connection in connections:
        for name in _namespaces(connection):
            connection.request("DELETE", f"/api/v1/namespaces/{name}")
    until(
        lambda: not any(_namespaces(connection) for connection in connections),
        ENDING,
        lambda: {connection.name: _namespaces(connection) for connection in connections},
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it so that it cleans up after itself, if it will."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        finally:
            process.kill()


def _namespaces(connection: Connection) -> list[str]:
    answer = connection.request("GET", "/api/v1/namespaces")
    assert answer.status == 200, f"{connection.name}: namespaces: {answer.message}"
    names = [str(item["metadata"]["name"]) for item in answer.body["items"]]
    return [name for name in names if name.startswith(NAMESPACES)]
