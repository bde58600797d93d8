"""The documents: Application (core.oam.dev/v1beta1), Policy and Workflow (.../v1alpha1), and plain objects beside them."""

from __future__ import annotations

import datetime
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field

from flotilla.errors import Problem, phrase
from flotilla.fleet import LABEL_VALUE, DnsLabel
from flotilla.intent import Mode
from flotilla.oam.durations import Duration
from flotilla.oam.expressions import Condition
from flotilla.oam.places import Model, Part, Place, Problems, one_of
from flotilla.oam.shapes import strange
from flotilla.validation import read_documents

Properties = dict[str, Any]

UNSUPPORTED = {
    "externalRevision": "component definitions are built in and have no revisions",
    "scopes": "scopes are gone from KubeVela too",
    "inputs": "a component renders from its own properties; pass values between workflow steps",
    "outputs": "a component renders from its own properties; pass values between workflow steps",
}


class Metadata(Part):
    """metadata of an OAM document."""

    name: DnsLabel
    namespace: DnsLabel = "default"
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class TraitPart(Part):
    """An entry of spec.components[].traits."""

    type: str
    properties: Properties = Field(default_factory=dict)


class ComponentPart(Part):
    """An entry of spec.components. The name becomes a label; where it names objects, too, it must be a DNS label."""

    name: Annotated[str, Field(pattern=LABEL_VALUE.pattern, min_length=1)]
    type: str
    properties: Properties = Field(default_factory=dict)
    traits: list[TraitPart] = Field(default_factory=list)
    depends_on: list[str] = Field(default_factory=list)


class PolicyPart(Part):
    """An entry of spec.policies."""

    name: str = Field(min_length=1)
    type: str
    properties: Properties = Field(default_factory=dict)


class ModePart(Part):
    """How steps follow one another; KubeVela runs the steps of a group side by side unless told otherwise."""

    steps: Mode | None = None
    sub_steps: Mode | None = None


class InputPart(Part):
    """A value that a step takes from another one's outputs."""

    from_: str = Field(alias="from")
    parameter_key: str = ""


class OutputPart(Part):
    """A value that a step hands on."""

    name: str
    value_from: str


class SubStepPart(Part):
    """A workflow step as it is written; what its properties may be depends on its type."""

    name: str = Field(min_length=1)
    type: str
    properties: Properties = Field(default_factory=dict)
    condition: Condition = Field(default="", alias="if")
    timeout: Duration | None = None
    depends_on: list[str] = Field(default_factory=list)
    inputs: list[InputPart] = Field(default_factory=list)
    outputs: list[OutputPart] = Field(default_factory=list)


class StepPart(SubStepPart):
    """A step of the workflow itself, which may be a group."""

    sub_steps: list[SubStepPart] = Field(default_factory=list)
    mode: Mode | None = None


class WorkflowPart(Part):
    """spec.workflow: steps, or the name of a Workflow document."""

    ref: str = ""
    mode: ModePart = ModePart.model_validate({})
    steps: list[StepPart] = Field(default_factory=list)


class SpecPart(Part):
    """spec of an Application."""

    components: list[ComponentPart]
    policies: list[PolicyPart] = Field(default_factory=list)
    workflow: WorkflowPart | None = None


class _Document(Part):
    api_version: str
    kind: str
    metadata: Metadata


class ApplicationDocument(_Document):
    """core.oam.dev/v1beta1 Application."""

    api_version: Literal["core.oam.dev/v1beta1"]
    spec: SpecPart
    status: dict[str, Any] = Field(default_factory=dict, max_length=0)


class PolicyDocument(_Document):
    """core.oam.dev/v1alpha1 Policy."""

    api_version: Literal["core.oam.dev/v1alpha1"]
    type: str
    properties: Properties = Field(default_factory=dict)


class WorkflowDocument(_Document):
    """core.oam.dev/v1alpha1 Workflow."""

    api_version: Literal["core.oam.dev/v1alpha1"]
    mode: ModePart = ModePart.model_validate({})
    steps: list[StepPart] = Field(min_length=1)


@dataclass(frozen=True)
class Placed:
    """A document and where it stands; ``place`` leads to its top."""

    body: Any
    place: Place


@dataclass
class Documents:
    """Everything that the files given hold. ``objects`` are documents that are not OAM's: what ref-objects can refer to."""

    applications: list[Placed] = field(default_factory=list)
    policies: dict[tuple[str, str], Placed] = field(default_factory=dict)
    workflows: dict[tuple[str, str], Placed] = field(default_factory=dict)
    objects: list[Placed] = field(default_factory=list)


def read_all(texts: Mapping[str, str], problems: Problems) -> Documents:
    """Return the documents of all files; what is wrong with them is noted in ``problems``."""
    found = Documents()
    for file, text in texts.items():
        try:
            with problems.noted():
                _read_into(found, file, text, problems)
        except RecursionError:
            problems.add(Place(file).problem(phrase("is nested too deep"), "documents as deep as people write them"))
    return found


def _read_into(found: Documents, file: str, text: str, problems: Problems) -> None:
    bodies = read_documents(text, file)
    for index, body in enumerate(bodies):
        place = Place(file if len(bodies) == 1 else f"{file}[document {index + 1}]")
        with problems.noted():
            _sort_in(found, body, place, problems)


def _sort_in(found: Documents, body: Any, place: Place, problems: Problems) -> None:
    if not isinstance(body, dict) or not isinstance(body.get("kind"), str) or not isinstance(body.get("apiVersion"), str):
        problems.add(place.problem(phrase("is not a Kubernetes object"), "a mapping with apiVersion and kind"))
        return
    unreadable = list(_not_json(body, place))
    problems.add(*unreadable)
    if unreadable:
        return
    if not body["apiVersion"].startswith("core.oam.dev/"):
        problems.add(*(wrong := list(strange(body, place))))
        found.objects += [] if wrong else [Placed(body, place)]
    elif body["kind"] == "Application":
        found.applications.append(Placed(_application(body, place, problems), place))
    elif body["kind"] == "Policy":
        _add(found.policies, Placed(place.read(PolicyDocument, body), place), problems)
    elif body["kind"] == "Workflow":
        _add(found.workflows, Placed(place.read(WorkflowDocument, body), place), problems)
    else:
        problems.add((place / "kind").problem(body["kind"], "one of Application, Policy, Workflow in core.oam.dev"))


def _application(body: dict[str, Any], place: Place, problems: Problems) -> ApplicationDocument:
    """Return an Application, with the fields that have a reason of their own for being refused taken out and noted."""
    spec = body.get("spec")
    components = spec.get("components") if isinstance(spec, dict) else None
    if isinstance(spec, dict) and isinstance(components, list):
        cleaned = [_cleaned(part, place / "spec" / "components" / i, problems) for i, part in enumerate(components)]
        body = {**body, "spec": {**spec, "components": cleaned}}
    return place.read(ApplicationDocument, body)


def _cleaned(part: Any, place: Place, problems: Problems) -> Any:
    if not isinstance(part, dict):
        return part
    for name in UNSUPPORTED.keys() & part.keys():
        problems.add((place / name).problem(part[name], f"no {name}: {UNSUPPORTED[name]}"))
    return {key: value for key, value in part.items() if key not in UNSUPPORTED}


def _add(documents: dict[tuple[str, str], Placed], new: Placed, problems: Problems) -> None:
    key = (new.body.metadata.namespace, new.body.metadata.name)
    if key in documents:
        other = documents[key].place.file
        problems.add((new.place / "metadata" / "name").problem(key[1], f"a name of its own: {other} has this one too"))
    documents.setdefault(key, new)


def _not_json(value: Any, place: Place) -> Iterator[Problem]:
    """Return what YAML can say and JSON can't: dates, infinities, keys that are not strings."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if isinstance(key, str):
                yield from _not_json(inner, place / key)
            else:
                yield place.problem(key, "keys that are strings: put it in quotation marks")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _not_json(inner, place / index)
    elif isinstance(value, datetime.date | bytes | set):
        yield place.problem(phrase(f"{value!r} is what YAML makes of it"), "a string: put it in quotation marks")
    elif isinstance(value, float) and not math.isfinite(value):
        yield place.problem(value, "a finite number")


Named = TypeVar("Named", ComponentPart, PolicyPart)


def note_doubles(parts: list[Named], place: Place, problems: Problems) -> None:
    """Note every name that stands twice in a list of parts."""
    seen = Counter[str]()
    for index, part in enumerate(parts):
        seen[part.name] += 1
        if seen[part.name] > 1:
            problems.add((place / index / "name").problem(part.name, "a name that stands once in this list"))


def the_model(models: Mapping[str, type[Model]], kind: str, place: Place, problems: Problems) -> type[Model] | None:
    """Return the model of a type, or note that the type is not supported."""
    if kind not in models:
        problems.add((place / "type").problem(kind, one_of(models, kind)))
        return None
    return models[kind]
