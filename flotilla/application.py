"""Applications (core.oam.dev/v1beta1): read, resolved and rendered against a fleet. The front of flotilla.oam; pure.

    intent = read_application({"podinfo.yaml": text}, fleet)

The format is KubeVela's, a strict subset with KubeVela's meaning of every field; what is not supported is refused by name.
Flotilla has no hub: where KubeVela means its hub (no topology, or the cluster ``local``) the production cluster is meant,
unless the fleet has a cluster named ``local``. Ours are ``flotilla`` in the properties of ``deploy`` (healthTimeout, soak,
maxFailures, onUnreachable) and of ``topology`` (weights), ``flotilla: {env}`` in a notification's url, and files, directory,
kustomization and chart of ``ref-objects``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from flotilla.errors import InvalidInput
from flotilla.fleet import Fleet
from flotilla.intent import Intent, ObjectRef, Step
from flotilla.oam import signals
from flotilla.oam.overlay import Component, Layers, overridden, read
from flotilla.oam.places import Place, Problems, one_of
from flotilla.oam.policies import OF_DEPLOY
from flotilla.oam.references import Reference, RefObjects, Shelf, Source, meant, references
from flotilla.oam.rendering import Setting
from flotilla.oam.resolution import Application, PlacedStep, parse, resolved
from flotilla.oam.steps import Builder
from flotilla.objects import Manifest

__all__ = ["Application", "Reference", "Source", "parse", "read_application", "referenced_files", "render"]

Files = Mapping[Reference, Sequence[Manifest]]
"""What was read for each reference."""


def read_application(
    texts: Mapping[str, str], fleet: Fleet, images: Mapping[str, str] | None = None, files: Files | None = None
) -> Intent:
    """Return what the one Application in some files (path -> text) asks of a fleet.

    Policies, Workflows and plain objects that it refers to may stand in the same or in other files. ``images`` replaces the
    images of components (name -> image). Raises InvalidInput with every problem found, each with its place.
    """
    problems = Problems()
    return _rendered(resolved(texts, problems), fleet, images or {}, files or {}, problems)


def referenced_files(application: Application) -> tuple[Reference, ...]:
    """Return the files, directories, kustomizations and charts that an application's ref-objects need to be read.

    Raises InvalidInput where the properties of such a component are not right.
    """
    found: dict[Reference, None] = {}
    for layers, name in _ref_objects(application):
        found |= dict.fromkeys(references(read(RefObjects, layers), name, application.namespace, application.file))
    return tuple(found)


def render(
    application: Application, fleet: Fleet, *, images: Mapping[str, str] | None = None, files: Files | None = None
) -> Intent:
    """Return what an application asks of a fleet; ``files`` holds what was read for ``referenced_files(application)``.

    An image of ``images`` takes the place of the component's own everywhere, after all policies. Raises InvalidInput with
    every problem found.
    """
    return _rendered(application, fleet, images or {}, files or {}, Problems())


def _rendered(application: Application, fleet: Fleet, images: Mapping[str, str], files: Files, problems: Problems) -> Intent:
    builder = Builder(application, fleet, _setting(application, images, files), problems)
    steps = tuple(step for placed in application.steps if (step := builder.step(placed)) is not None)
    builder.render_rest()
    _note_unknown_images(images, builder.seen, problems)
    _note_idle_objects(application, problems)
    intent = _intent(application, steps, (*application.warnings, *builder.warnings, *_idle(application, builder)))
    places = dict(_places(application.steps, problems))
    if len(steps) == len(application.steps):
        problems.add(*signals.problems_between(intent, places))
    problems.raise_any()
    return _with_read_names(intent)


def _setting(application: Application, images: Mapping[str, str], files: Files) -> Setting:
    metadata = application.metadata
    return Setting(
        app=application.name,
        namespace=application.namespace,
        labels=metadata.labels,
        annotations=metadata.annotations,
        policies=[(policy.type, policy.body) for policy in application.policies.values() if policy.internal],
        images=images,
        shelf=Shelf(application.objects, files, application.namespace, application.file),
    )


def _intent(application: Application, steps: tuple[Step, ...], warnings: tuple[str, ...]) -> Intent:
    collect = next((p.body for p in application.policies.values() if p.internal and p.type == "garbage-collect"), None)
    intent = Intent(
        name=application.name,
        namespace=application.namespace,
        mode=application.mode,
        steps=steps,
        source=application.file,
        warnings=warnings,
    )
    if collect is None:
        return intent
    return replace(
        intent,
        keep_revisions=collect.application_revision_limit or intent.keep_revisions,
        keep_legacy=collect.keep_legacy_resource,
        prune_after_failure=collect.continue_on_failure,
        prune_in_order=collect.order == "dependency",
    )


def _places(steps: Sequence[PlacedStep], problems: Problems) -> Iterator[tuple[str, Place]]:
    """Yield the place of every step by name and note names that stand twice."""
    every = [one for step in steps for one in (step, *step.sub_steps)]
    names = Counter(one.part.name for one in every)
    for one in every:
        if names[one.part.name] > 1:
            problems.add((one.place / "name").problem(one.part.name, "a name that no other step of the workflow has"))
        yield one.part.name, one.place


def _note_unknown_images(images: Mapping[str, str], known: Mapping[str, Component], problems: Problems) -> None:
    for name in images:
        if name not in known:
            problems.add(Place("image overrides", name).problem(name, f"a component, {one_of(known, name)}"))


def _note_idle_objects(application: Application, problems: Problems) -> None:
    """Note the plain objects that nothing refers to: they would be left out without a word."""
    used: set[int] = set()
    shelf = Shelf(application.objects, {}, application.namespace, application.file)
    for layers, name in _ref_objects(application):
        try:
            wanted = read(RefObjects, layers).objects
        except InvalidInput:
            continue  # rendering the component has noted it
        used |= {id(placed) for one in wanted for placed in meant(one, name, shelf)}
    for placed in application.objects:
        if id(placed) not in used:
            allowed = "Application, Policy, Workflow, or an object that a ref-objects component refers to"
            problems.add((placed.place / "kind").problem(placed.body["kind"], allowed))


def _ref_objects(application: Application) -> Iterator[tuple[Layers, str]]:
    """Yield the properties of every ref-objects component, as written and as each override policy changes it."""
    components = [*application.components]
    for policy in application.policies.values():
        if policy.type == "override":
            everything = policy.body.model_copy(update={"selector": None})
            components += overridden(application.components, everything, policy.place, Problems())
    for component in components:
        if component.type == "ref-objects":
            yield component.layers, component.name


def _idle(application: Application, builder: Builder) -> Iterator[str]:
    for policy in application.policies.values():
        if policy.internal and policy.type in OF_DEPLOY and policy.name not in builder.used_policies:
            yield f"policy {policy.name} is used by no step"


def _with_read_names(intent: Intent) -> Intent:
    """Return an intent in which a read-object step that names a component reads the object that it renders.

    KubeVela's multi-cluster page reads the Job ``mytask`` of the component ``mytask``; since KubeVela 1.10.3 a task's Job is
    named after the application, too.
    """
    warnings: list[str] = []

    def corrected(step: Step) -> Step:
        if step.sub_steps:
            return replace(step, sub_steps=tuple(corrected(sub) for sub in step.sub_steps))
        name = _rendered_name(step.read, intent) if step.read is not None else ""
        if step.read is None or name in ("", step.read.name):
            return step
        warnings.append(f"step {step.name} reads {step.read.kind} {name}, which component {step.read.name} renders")
        return replace(step, read=replace(step.read, name=name))

    steps = tuple(corrected(step) for step in intent.steps)
    return replace(intent, steps=steps, warnings=(*intent.warnings, *warnings))


def _rendered_name(wanted: ObjectRef, intent: Intent) -> str:
    """Return the name of the object that is meant, if this application renders it: by its own name, or else its component's."""
    there = [
        (item.manifest["metadata"]["name"], item.component)
        for delivery in intent.deliveries
        for item in delivery.objects
        if delivery.cluster == wanted.cluster
        and item.manifest["metadata"].get("namespace", delivery.namespace) == wanted.namespace
        and (item.manifest["apiVersion"], item.manifest["kind"]) == (wanted.api_version, wanted.kind)
    ]
    if any(name == wanted.name for name, _ in there):
        return wanted.name
    return next((name for name, component in there if component == wanted.name), "")
