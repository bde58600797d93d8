"""From the steps of an Application to those of an intent: who gets which objects, in which order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

from flotilla.errors import InvalidInput, phrase
from flotilla.fleet import Fleet
from flotilla.intent import Delivery, Drain, RenderedObject, Step, StepKind, WavePolicy
from flotilla.oam import placement as placing
from flotilla.oam import rendering, signals
from flotilla.oam.overlay import Component, Layer, overridden, replicated
from flotilla.oam.placement import Placement, cluster_named
from flotilla.oam.places import Place, Problems, one_of
from flotilla.oam.policies import OF_DEPLOY
from flotilla.oam.resolution import BROKEN, Application, PlacedStep, Policy
from flotilla.oam.step_models import MODELS, ApplyComponent, ApplyObject, Deploy, Suspend

EMAIL = "no email: Flotilla notifies by webhook only; slack, dingding or lark"


class Builder:
    """Builds steps; what is wrong is noted in ``problems``, what is merely odd in ``warnings``."""

    def __init__(self, application: Application, fleet: Fleet, setting: rendering.Setting, problems: Problems) -> None:
        self._application = application
        self._fleet = fleet
        self._setting = setting
        self._problems = problems
        self.warnings: list[str] = []
        self.used_policies: set[str] = set()
        self.seen: dict[str, Component] = {component.name: component for component in application.components}
        self._rendered: set[str] = set()
        self._apply_steps: dict[str, list[str]] = {}
        for step in (one for top in application.steps for one in (top, *top.sub_steps)):
            if step.part.type == "apply-component":
                self._apply_steps.setdefault(str(step.part.properties.get("component")), []).append(step.part.name)

    def step(self, placed: PlacedStep, *, inside: bool = False) -> Step | None:
        """Return a step; None where its type or properties are not right, which is noted."""
        kind = placed.part.type
        known = [name for name in MODELS if not (inside and name == "step-group")]
        if kind not in known:
            self._problems.add((placed.place / "type").problem(kind, one_of(known, kind)))
            return None
        if kind == "notification" and "email" in placed.part.properties:
            self._problems.add((placed.place / "properties" / "email").problem(phrase("is asked for"), EMAIL))
            return None
        with self._problems.noted():
            given = (placed.place / "properties").read(MODELS[kind], placed.part.properties)
            return self._built(placed, kind, given)
        return None

    def _built(self, placed: PlacedStep, kind: str, given: Any) -> Step:
        step = signals.common(placed, self._application)
        if placed.sub_steps and kind != "step-group":
            raise InvalidInput(
                [(placed.place / "subSteps").problem(phrase("stand in a step that is no group"), "no subSteps here")]
            )
        match kind:
            case "deploy":
                return self._deploy(step, given, placed.place)
            case "apply-component":
                return self._apply_component(step, given, placed.place / "properties")
            case "apply-object":
                return self._apply_object(step, given, placed.place / "properties")
            case "suspend":
                return _suspend(step, given)
            case "step-group":
                return self._group(step, placed)
            case "read-object":
                cluster = cluster_named(given.cluster, self._fleet, placed.place / "properties" / "cluster")
                return signals.reading(step, given, cluster)
        return signals.sending(step, given, placed, self._application)

    def _group(self, step: Step, placed: PlacedStep) -> Step:
        if not placed.sub_steps:
            raise InvalidInput([(placed.place / "subSteps").problem(phrase("are missing"), "at least one sub-step in a group")])
        subs = [sub for one in placed.sub_steps if (sub := self.step(one, inside=True)) is not None]
        mode = placed.part.mode or self._application.sub_mode
        return replace(step, kind=StepKind.GROUP, sub_steps=tuple(subs), sub_mode=mode)

    def _deploy(self, step: Step, given: Deploy, place: Place) -> Step:
        policies = self._policies(given.policies, place / "properties" / "policies")
        components: tuple[Component, ...] = self._application.components
        for policy in policies:
            if policy.type == "override":
                components = overridden(components, policy.body, policy.place, self._problems)
        self.seen |= {component.name: component for component in components}
        copies = [(policy.body, policy.place) for policy in policies if policy.type == "replication"]
        components = replicated(components, copies, self._problems)
        targets = self._targets(step, policies, place)
        wave = WavePolicy(
            health_timeout=given.flotilla.health_timeout,
            soak=given.flotilla.soak,
            max_failures=given.flotilla.max_failures,
            on_unreachable=given.flotilla.on_unreachable,
            drain=Drain(drain.idle, drain.within) if (drain := given.flotilla.drain) else None,
        )
        message = "" if given.auto else f'Waiting approval to the deploy step "{step.name}"'
        deliveries = self._deliveries(components, targets, place)
        return replace(
            step, deliveries=deliveries, parallelism=given.parallelism, gate=not given.auto, message=message, wave=wave
        )

    def _policies(self, names: Sequence[str], place: Place) -> list[Policy]:
        found = []
        for index, name in enumerate(names):
            policy = self._application.policies.get(name)
            if policy is None:
                allowed = one_of(self._application.policies, name)
                self._problems.add((place / index).problem(name, f"a policy of this application or its namespace, {allowed}"))
            elif policy.type in (*OF_DEPLOY, BROKEN):
                found.append(policy)
                self.used_policies.add(name)
            elif not policy.internal:
                self._problems.add(
                    (place / index).problem(name, f"{policy.type} inside the Application: it is not for one step")
                )
        return found

    def _targets(self, step: Step, policies: Sequence[Policy], place: Place) -> list[tuple[Placement, Place]]:
        topologies = [policy for policy in policies if policy.type == "topology"]
        namespace = self._application.namespace
        if not topologies:
            kinds = {policy.type for policy in policies}
            if self._application.written and "override" in kinds and BROKEN not in kinds:
                allowed = (
                    "a topology policy beside the overrides: KubeVela's page on overrides says that nothing is deployed without"
                )
                self._problems.add((place / "properties" / "policies").problem([p.name for p in policies], allowed))
            return [(target, place) for target in placing.hub(self._fleet, namespace)]
        found: dict[tuple[str, str], tuple[Placement, Place]] = {}
        for policy in topologies:
            with self._problems.noted():
                for target in placing.placements(policy.body, self._fleet, namespace, policy.place):
                    found.setdefault((target.cluster, target.namespace), (target, policy.place))
        if not found:
            self.warnings.append(f"step {step.name} reaches no cluster")
        return list(found.values())

    def _apply_component(self, step: Step, given: ApplyComponent, place: Place) -> Step:
        own = next((one for one in self._application.components if one.name == given.component), None)
        if own is None:
            names = [component.name for component in self._application.components]
            raise InvalidInput([(place / "component").problem(given.component, one_of(names, given.component))])
        cluster = cluster_named(given.cluster, self._fleet, place / "cluster")
        before = [name for other in own.depends_on for name in self._apply_steps.get(other, [other])]
        target = Placement(cluster, given.namespace or self._application.namespace)
        deliveries = self._deliveries((replace(own, depends_on=()),), [(target, place)], place)
        depends_on = tuple(dict.fromkeys((*step.depends_on, *before)))
        return replace(step, kind=StepKind.APPLY_COMPONENT, deliveries=deliveries, depends_on=depends_on)

    def _apply_object(self, step: Step, given: ApplyObject, place: Place) -> Step:
        """Return an apply-object step as one that applies a component of one object, named like the step."""
        cluster = cluster_named(given.cluster, self._fleet, place / "cluster")
        component = Component(step.name, "k8s-objects", (Layer({"objects": [given.value]}, place),), (), (), place)
        target = Placement(cluster, self._application.namespace)
        return replace(step, kind=StepKind.APPLY_COMPONENT, deliveries=self._deliveries((component,), [(target, place)], place))

    def _deliveries(
        self, components: Sequence[Component], targets: Sequence[tuple[Placement, Place]], place: Place
    ) -> tuple[Delivery, ...]:
        objects: dict[tuple[str, str], tuple[RenderedObject, ...]] = {}
        for component in components:
            self._rendered.add(component.name)
            with self._problems.noted():
                objects[component.name, component.replica] = rendering.rendered(component, self._setting)
        stages = self._stages(components)
        deliveries = []
        for target, at in targets:
            with self._problems.noted():
                shared = [
                    [
                        item
                        for one in stage
                        for item in rendering.for_placement(objects.get((one.name, one.replica), ()), target, at)
                    ]
                    for stage in stages
                ]
                delivery = Delivery(target.cluster, target.namespace, tuple(tuple(stage) for stage in shared if stage))
                self._note_doubles(delivery, place)
                deliveries.append(delivery)
        return tuple(deliveries)

    def _stages(self, components: Sequence[Component]) -> list[list[Component]]:
        """Return components in the order of dependsOn: each stage needs only those before it."""
        names = {component.name for component in components}
        graph: dict[str, set[str]] = {name: set() for name in names}
        for component in components:
            for index, other in enumerate(component.depends_on):
                at = component.place / "dependsOn" / index
                if other in names:
                    graph[component.name].add(other)
                elif other in self.seen:
                    self._problems.add(at.problem(other, "a component of the same deploy step: KubeVela would wait for ever"))
                else:
                    self._problems.add(at.problem(other, one_of(names - {component.name}, other)))
        try:
            return _levels(graph, components)
        except CycleError as error:
            first = next(component for component in components if component.name == error.args[1][0])
            found = phrase("goes in a circle: " + " -> ".join(error.args[1]))
            self._problems.add((first.place / "dependsOn").problem(found, "an order in which components can be applied"))
            return []

    def _note_doubles(self, delivery: Delivery, place: Place) -> None:
        for key, components in rendering.doubles(delivery.objects, delivery.namespace):
            found = phrase(f"{key} is rendered {len(components)} times, by {', '.join(dict.fromkeys(components))}")
            at = self.seen[components[-1]].place if components[-1] in self.seen else place
            self._problems.add(at.problem(found, "one object of this name in one place"))

    def render_rest(self) -> None:
        """Render the components that no step delivers, for their problems only, and say so."""
        for component in self._application.components:
            if component.name not in self._rendered:
                self.warnings.append(f"component {component.name} is delivered by no step")
                with self._problems.noted():
                    rendering.rendered(component, self._setting)


def _suspend(step: Step, given: Suspend) -> Step:
    return replace(step, kind=StepKind.SUSPEND, duration=given.duration, message=given.message, gate=given.duration is None)


def _levels(graph: Mapping[str, set[str]], components: Sequence[Component]) -> list[list[Component]]:
    sorter = TopologicalSorter(graph)
    sorter.prepare()
    levels = []
    while sorter.is_active():
        ready = set(sorter.get_ready())
        levels.append([component for component in components if component.name in ready])
        sorter.done(*ready)
    return levels
