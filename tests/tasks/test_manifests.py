"""Reading what Applications refer to, from real files and with real programs where they are there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from flotilla.application import Reference, Source
from flotilla.errors import InvalidInput, Permanent
from flotilla.fleet import parse_fleet
from tasks.manifests import load_application, read_references, read_texts

FLEET = parse_fleet("clusters: [{name: production, role: production, site: {name: a, city: b}}]", "fleet.yaml")
CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\n"
APPLICATION = """
apiVersion: core.oam.dev/v1beta1
kind: Application
metadata: {name: app}
spec:
  components:
    - {name: files, type: ref-objects, properties: {files: [../shared/one.yaml], directory: ../more}}
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for folder in ("apps", "shared", "more"):
        (tmp_path / folder).mkdir()
    (tmp_path / "apps" / "app.yaml").write_text(APPLICATION)
    (tmp_path / "shared" / "one.yaml").write_text(CONFIG % "one")
    (tmp_path / "more" / "b.yml").write_text(CONFIG % "b" + "---\n" + CONFIG % "c")
    (tmp_path / "more" / "a.json").write_text(
        '{"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}]}'
    )
    (tmp_path / "more" / "notes.txt").write_text("no manifest")
    return tmp_path


def test_files_and_directories_are_read_relative_to_the_application(home: Path) -> None:
    intent = load_application([home / "apps"], FLEET)
    assert ["one", "a", "b", "c"] == [item.manifest["metadata"]["name"] for item in intent.deliveries[0].objects]
    assert str(home / "apps" / "app.yaml") == intent.source


def test_what_cannot_be_read_is_named(home: Path) -> None:
    (home / "shared" / "one.yaml").unlink()
    with pytest.raises(InvalidInput, match=r"one\.yaml: cannot be read: .*No such file"):
        load_application([home / "apps" / "app.yaml"], FLEET)
    (home / "empty").mkdir()
    with pytest.raises(InvalidInput, match="holds no manifests"):
        read_texts([home / "empty"])


def test_what_is_no_manifest_is_named(home: Path) -> None:
    (home / "shared" / "one.yaml").write_text("- 1\n")
    with pytest.raises(InvalidInput, match=r"one\.yaml: document 1: \[1\]; allowed: an object"):
        load_application([home / "apps" / "app.yaml"], FLEET)


@pytest.mark.parametrize(
    ("source", "message"),
    [(Source.KUSTOMIZATION, "needs kustomize or kubectl on the PATH"), (Source.CHART, "needs helm on the PATH")],
)
def test_a_missing_program_is_named(home: Path, monkeypatch: pytest.MonkeyPatch, source: Source, message: str) -> None:
    monkeypatch.setenv("PATH", str(home))
    with pytest.raises(Permanent, match=message):
        read_references([Reference(source, "x", str(home / "app.yaml"))])


def program(home: Path, name: str, text: str) -> None:
    """Put a program on the PATH's folder; stands in for programs that a machine may not have."""
    path = home / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_a_program_that_fails_has_the_last_word(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(home, "kustomize", "echo 'no such base' >&2; exit 3")
    monkeypatch.setenv("PATH", f"{home}:/bin:/usr/bin")
    with pytest.raises(Permanent, match="ended with 3: no such base"):
        read_references([Reference(Source.KUSTOMIZATION, "x", str(home / "app.yaml"))])


def test_a_chart_is_rendered_with_its_values_on_standard_input(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(
        home,
        "helm",
        "cat > values.seen; echo \"$@\" > words.seen; printf 'apiVersion: v1\\nkind: ConfigMap\\nmetadata: {name: x}\\n'",
    )
    monkeypatch.setenv("PATH", f"{home}:/bin:/usr/bin")
    monkeypatch.chdir(home)
    reference = Reference(Source.CHART, "chart", str(home / "app.yaml"), release="it", namespace="there", values='{"a":1}')
    manifests = read_references([reference])[reference]
    assert ["x"] == [manifest["metadata"]["name"] for manifest in manifests]
    assert '{"a":1}' == (home / "values.seen").read_text()
    assert f"template it {home}/chart --namespace there --include-crds --values -\n" == (home / "words.seen").read_text()


@pytest.mark.skipif(not (shutil.which("kustomize") or shutil.which("kubectl")), reason="neither kustomize nor kubectl is here")
def test_a_real_kustomization_is_built(home: Path) -> None:
    (home / "more" / "kustomization.yaml").write_text("namePrefix: pre-\nresources: [b.yml]\n")
    reference = Reference(Source.KUSTOMIZATION, "more", str(home / "app.yaml"))
    assert ["pre-b", "pre-c"] == [manifest["metadata"]["name"] for manifest in read_references([reference])[reference]]
