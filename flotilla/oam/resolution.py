"""One Application with what it refers to by name, Workflow and Policies, and the steps that KubeVela would generate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flotilla.errors import InvalidInput, phrase
from flotilla.intent import Mode
from flotilla.oam.documents import (
    ApplicationDocument,
    Documents,
    Metadata,
    ModePart,
    Placed,
    StepPart,
    note_doubles,
    read_all,
    the_model,
)
from flotilla.oam.overlay import Component, component_of
from flotilla.oam.places import Place, Problems, one_of
from flotilla.oam.policies import MODELS

BROKEN = ""


@dataclass(frozen=True)
class Policy:
    """A policy, checked; ``place`` leads to its properties. The type of one that is wrong, which was noted, is BROKEN."""

    name: str
    type: str
    body: Any
    place: Place
    internal: bool = True


@dataclass(frozen=True)
class PlacedStep:
    """A step as it is written, or as KubeVela would generate it, and where it stands."""

    part: Any
    place: Place
    sub_steps: tuple[PlacedStep, ...] = ()


@dataclass(frozen=True)
class Application:
    """An Application, resolved against the documents that it was given with; not yet against a fleet.

    ``objects`` are the plain objects among these documents, to which ref-objects components may refer.
    """

    metadata: Metadata
    components: tuple[Component, ...]
    policies: Mapping[str, Policy]
    steps: tuple[PlacedStep, ...]
    mode: Mode
    sub_mode: Mode
    place: Place
    objects: Sequence[Placed] = ()
    written: bool = True
    """Whether the steps were written down; False where they are generated."""
    warnings: tuple[str, ...] = field(default=())

    @property
    def name(self) -> str:
        """The application's name."""
        return self.metadata.name

    @property
    def namespace(self) -> str:
        """The application's namespace: that of its objects too, unless a topology says otherwise."""
        return self.metadata.namespace

    @property
    def file(self) -> str:
        """The file that the Application stands in."""
        return self.place.file.partition("[document ")[0]


def parse(texts: Mapping[str, str]) -> Application:
    """Return the one Application that the texts of some files hold; raises InvalidInput with everything that is wrong."""
    problems = Problems()
    application = resolved(texts, problems)
    problems.raise_any()
    return application


def resolved(texts: Mapping[str, str], problems: Problems) -> Application:
    """Return the one Application in some files, its problems noted; raises InvalidInput if there is none to return."""
    documents = read_all(texts, problems)
    if len(documents.applications) != 1:
        names = ", ".join(placed.body.metadata.name for placed in documents.applications)
        found = phrase(f"hold {len(documents.applications)} Applications" + (f": {names}" if names else ""))
        if not documents.applications:
            problems.raise_any()
        problems.add(Place(", ".join(texts)).problem(found, "exactly one core.oam.dev/v1beta1 Application"))
        problems.raise_any()
    try:
        return _resolved(documents.applications[0], documents, problems)
    except InvalidInput as error:
        problems.add(*error.problems)
        problems.raise_any()
        raise


def _resolved(placed: Placed, documents: Documents, problems: Problems) -> Application:
    document: ApplicationDocument = placed.body
    spec, place = document.spec, placed.place / "spec"
    note_doubles(spec.components, place / "components", problems)
    if not spec.components and not (spec.workflow and (spec.workflow.steps or spec.workflow.ref)):
        problems.add((place / "components").problem(phrase("is empty"), "at least one component, or a workflow with steps"))
    note_doubles(spec.policies, place / "policies", problems)
    components = tuple(component_of(part, place / "components" / i) for i, part in enumerate(spec.components))
    policies = _policies(document, documents, place, problems)
    steps, mode = _written_steps(document, documents, place, problems)
    generated = () if steps else _generated(components, policies, place)
    default = Mode.STEP_BY_STEP if spec.workflow is not None or _topologies(policies) else Mode.DAG
    return Application(
        metadata=document.metadata,
        components=components,
        policies=policies,
        steps=steps or generated,
        mode=mode.steps or default,
        sub_mode=mode.sub_steps or Mode.DAG,
        place=placed.place,
        objects=documents.objects,
        written=bool(steps),
    )


def _policies(document: ApplicationDocument, documents: Documents, place: Place, problems: Problems) -> dict[str, Policy]:
    """Return the policies by name: the Application's own first, then those of its namespace."""
    found: dict[str, Policy] = {}
    for index, part in enumerate(document.spec.policies):
        _add(found, part.name, part, place / "policies" / index, True, problems)
    for (namespace, name), placed in documents.policies.items():
        if namespace == document.metadata.namespace and name not in found:
            _add(found, name, placed.body, placed.place, False, problems)
    for kind in ("garbage-collect", "apply-once", "shared-resource", "read-only", "take-over", "resource-update"):
        same = [policy for policy in found.values() if policy.internal and policy.type == kind]
        for policy in same[1:]:
            allowed = f"one policy of this type: {same[0].name!r} is there already, and KubeVela reads only the first"
            problems.add(policy.place.problem(phrase(f"belong to a second {kind}"), allowed))
    return found


def _add(found: dict[str, Policy], name: str, part: Any, place: Place, internal: bool, problems: Problems) -> None:
    found[name] = Policy(name, BROKEN, None, place / "properties", internal)
    model = the_model(MODELS, part.type, place, problems)
    if model is not None:
        with problems.noted():
            body = (place / "properties").read(model, part.properties)
            found[name] = Policy(name, part.type, body, place / "properties", internal)


def _written_steps(
    document: ApplicationDocument, documents: Documents, place: Place, problems: Problems
) -> tuple[tuple[PlacedStep, ...], ModePart]:
    workflow = document.spec.workflow
    if workflow is None:
        return (), ModePart.model_validate({})
    if not workflow.ref:
        return _placed(workflow.steps, place / "workflow" / "steps"), workflow.mode
    at = place / "workflow" / "ref"
    if workflow.steps:
        problems.add(at.problem(workflow.ref, "steps, or ref to a Workflow, not both"))
    external = documents.workflows.get((document.metadata.namespace, workflow.ref))
    if external is None:
        there = [name for namespace, name in documents.workflows if namespace == document.metadata.namespace]
        allowed = f"a Workflow in namespace {document.metadata.namespace}, {one_of(there, workflow.ref)}"
        raise InvalidInput([at.problem(workflow.ref, allowed)])
    return _placed(external.body.steps, external.place / "steps"), external.body.mode


def _placed(steps: Sequence[Any], place: Place) -> tuple[PlacedStep, ...]:
    return tuple(
        PlacedStep(step, place / i, _placed(getattr(step, "sub_steps", ()), place / i / "subSteps"))
        for i, step in enumerate(steps)
    )


def _topologies(policies: Mapping[str, Policy]) -> list[Policy]:
    return [policy for policy in policies.values() if policy.internal and policy.type == "topology"]


def _generated(components: Sequence[Component], policies: Mapping[str, Policy], place: Place) -> tuple[PlacedStep, ...]:
    """Return the steps of an Application without a workflow (KubeVela: pkg/workflow/step/generator.go).

    One deploy step for each topology policy, in order, each with all override policies; without a topology one deploy step
    to the hub if there are overrides or ref-objects, and else a step for each component.
    """
    overrides = [policy.name for policy in policies.values() if policy.internal and policy.type == "override"]
    topologies = _topologies(policies)
    if topologies:
        return tuple(
            _step(f"deploy-{one.name}", "deploy", {"policies": [*overrides, one.name]}, place / "policies")
            for one in topologies
        )
    if overrides or any(component.type == "ref-objects" for component in components):
        return (_step("deploy", "deploy", {"policies": overrides}, place / "policies"),)
    return tuple(
        _step(one.name, "apply-component", {"component": one.name}, one.place, dependsOn=list(one.depends_on))
        for one in components
    )


def _step(name: str, kind: str, properties: dict[str, Any], place: Place, **more: Any) -> PlacedStep:
    return PlacedStep(StepPart.model_validate({"name": name, "type": kind, "properties": properties, **more}), place)
