"""What tests against a real API server share: short ways to write an application, to roll it out and to look at it."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from flotilla.facts import Unknown
from flotilla.intent import Delivery, Handling, Intent, Mode, RenderedObject, Step, StepKind
from flotilla.objects import ObjectKey
from flotilla.rollout import Action, Plan, plan
from lab import settings
from tasks.clusters import Connection
from tasks.looks import look_at
from tasks.scene import GROUND, scene_of, strays_in
from tasks.workloads import Applied, apply_step, prune, save_parent

CLUSTER = "remote"
IMAGE = "localhost/podinfo:6.7.0"


@dataclass
class Stage:
    """A namespace of a test's own and the application that it rolls out there; both have one name."""

    connection: Connection
    namespace: str
    beside: list[str] = field(default_factory=list)
    """Cluster-scoped objects to delete afterwards: kind/name."""

    @property
    def name(self) -> str:
        return self.namespace

    @property
    def suffix(self) -> str:
        """What tells this test's own names apart from those of others."""
        return self.namespace.rpartition("-")[2]

    def intent(self, *objects: Mapping[str, Any] | RenderedObject, name: str = "", handling: Handling = Handling()) -> Intent:  # noqa: B008
        """Return an application of one step that asks for some objects, all treated alike."""
        items = tuple(
            one if isinstance(one, RenderedObject) else RenderedObject(one, "web", handling=handling) for one in objects
        )
        delivery = Delivery(self.connection.name, self.namespace, (items,))
        step = Step("deploy", StepKind.DEPLOY, deliveries=(delivery,))
        return Intent(name or self.name, self.namespace, Mode.STEP_BY_STEP, (step,))

    def plan(self, *objects: Any, through: Connection | None = None, **more: Any) -> Plan:
        """Return the plan for some objects."""
        intent = self.intent(*objects, **more)
        return plan(intent.name, {self.connection.name: look_at(through or self.connection, intent)})

    def planned(self, *objects: Any, **more: Any) -> dict[str, Action]:
        """Return what would be done, by the objects' names."""
        found = self.plan(*objects, **more)
        assert () == found.unreachable, found.rows()
        return {one.key.name: one.action for one in found.changes if one.key is not None}

    def told(self, *objects: Any, **more: Any) -> str:
        """Return the one line of the plan that is not about what stays: action, fields, message."""
        (row,) = self.plan(*objects, **more).rows()
        return f"{row['action']}: {row['fields']}"

    def roll(self, *objects: Any, through: Connection | None = None, force: bool = False, **more: Any) -> dict[str, Action]:
        """Apply some objects as a rollout does, namespaces and the set's parent first."""
        intent = self.intent(*objects, **more)
        scene = scene_of(through or self.connection, intent, force=force)
        done: list[Applied] = list(apply_step(scene, "deploy", GROUND))
        save_parent(scene)
        done += apply_step(scene, "deploy", 0)
        return {one.key.name: one.action for one in done}

    def prune(self, *objects: Any, only: Sequence[str] | None = None, **more: Any) -> list[str]:
        """Delete what the application no longer names (of those, ``only`` some) and return the names of what is gone."""
        scene = scene_of(self.connection, self.intent(*objects, **more))
        keys = [stray.key for stray in strays_in(scene) if only is None or stray.key.name in only]
        return [key.name for key in prune(scene, keys)]

    def until(self, holds: Callable[[], bool], seconds: float = 20.0) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.2)

    def kubectl(self, *words: str, input: Any = None, check: bool = True, env: Any = None) -> str:  # noqa: A002
        """Run kubectl against the cluster and return what it printed, on both channels."""
        done = subprocess.run(
            [str(settings.directory() / "bin" / "kubectl"), "--context", self.connection.name, *words],
            input=json.dumps(input) if input else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            env=env,
        )
        assert done.returncode == 0 or not check, f"kubectl {' '.join(words)}: {done.stdout}"
        return done.stdout

    def inside(self, *words: str, **more: Any) -> str:
        """Run kubectl in the namespace."""
        return self.kubectl("-n", self.namespace, *words, **more)

    def live(self, kind: str, name: str) -> Any:
        """Return an object as it is in the cluster."""
        return json.loads(self.inside("get", kind, name, "-o", "json", "--show-managed-fields"))

    def names(self, kind: str = "configmap") -> list[str]:
        """Return the names of the objects of a kind, without the set's parent and what every namespace has."""
        every = self.inside("get", kind, "-o", "name").split()
        found = [name.partition("/")[2] for name in every]
        return [name for name in found if not name.startswith("flotilla.") and name != "kube-root-ca.crt"]

    def open(self) -> None:
        """Create the namespace."""
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
        answer = self.connection.request("POST", "/api/v1/namespaces", body=body)
        assert answer.status == 201, answer.message

    def clear(self) -> None:
        """Delete what the test made; nobody waits for it."""
        if self.beside:
            self.kubectl("delete", "--wait=false", "--ignore-not-found", *reversed(self.beside), check=False)
        self.connection.request("DELETE", f"/api/v1/namespaces/{self.namespace}")


def config(name: str = "m", labels: Mapping[str, str] | None = None, **data: str) -> dict[str, Any]:
    """Return a ConfigMap without a namespace."""
    metadata: dict[str, Any] = {"name": name} | ({"labels": dict(labels)} if labels else {})
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data or {"a": "1"}}


def deployment(
    name: str = "web", replicas: int = 1, image: str = IMAGE, spec: Mapping[str, Any] | None = None, **container: Any
) -> dict[str, Any]:
    """Return a Deployment of one container."""
    one = {"name": "main", "image": image, "imagePullPolicy": "IfNotPresent", **container}
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [one], "terminationGracePeriodSeconds": 0}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template, **(spec or {})},
    }


def key(namespace: str, name: str = "web", kind: str = "Deployment", group: str = "apps") -> ObjectKey:
    """Return an object's key."""
    return ObjectKey(group, kind, namespace, name)


def unknown(stage: Stage, through: Connection, *objects: Any) -> Unknown:
    """Return why a look found nothing out; fails where it did."""
    look = look_at(through, stage.intent(*objects))
    assert isinstance(look, Unknown), look
    return look


def handled(manifest: Mapping[str, Any], **how: Any) -> RenderedObject:
    """Return an object that is treated in a way of its own."""
    return replace(RenderedObject(manifest, "web"), handling=Handling(**how))
