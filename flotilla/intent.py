"""What an Application asks for, resolved against a fleet: who gets which objects, in which order. Rendered, not yet planned."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from flotilla.objects import Manifest


class Recycle(StrEnum):
    """When an object that the application no longer names may be deleted (KubeVela garbage-collect strategies)."""

    ON_APP_UPDATE = "onAppUpdate"
    ON_APP_DELETE = "onAppDelete"
    NEVER = "never"


@dataclass(frozen=True)
class Handling:
    """How one object is treated; the sum of the resource policies whose selectors match it.

    ``apply_once`` holds the field paths whose drift is tolerated ("*" is the whole object), ``apply_once_affects``
    when: "onUpdate", "onStateKeep" or "always" (KubeVela apply-once).
    """

    read_only: bool = False
    take_over: bool = False
    shared: bool = False
    recycle: Recycle = Recycle.ON_APP_UPDATE
    orphan: bool = False
    apply_once: tuple[str, ...] = ()
    apply_once_affects: str = "always"
    replace: bool = False
    """Delete and create again when a patch is refused as immutable (k8s-update-strategy / resource-update: replace)."""
    recreate_fields: tuple[str, ...] = ()
    """Fields whose change alone is reason enough to delete and create again (resource-update: recreateFields)."""


@dataclass(frozen=True)
class RenderedObject:
    """One object for one cluster and who asked for it; ``trait`` is "" for the component's own workload."""

    manifest: Manifest
    component: str
    trait: str = ""
    handling: Handling = Handling()


@dataclass(frozen=True)
class Delivery:
    """What one step puts on one cluster.

    ``stages`` follow one another: the objects of one are healthy before those of the next are applied (dependsOn).
    ``namespace`` is where namespaced objects go that name none.
    """

    cluster: str
    namespace: str
    stages: tuple[tuple[RenderedObject, ...], ...]

    @property
    def objects(self) -> tuple[RenderedObject, ...]:
        """Every object of all stages, in order."""
        return tuple(item for stage in self.stages for item in stage)


class OnUnreachable(StrEnum):
    """What a wave does about a cluster that cannot be reached."""

    GO_ON = "go-on"
    HOLD = "hold"
    STOP = "stop"


@dataclass(frozen=True)
class Drain:
    """Other clusters send nothing to a cluster while it is changed: once they send no more, it idles for ``idle`` seconds.

    ``within`` seconds they have to stop, and later to begin again.
    """

    idle: float = 5.0
    within: float = 60.0


@dataclass(frozen=True)
class WavePolicy:
    """Extensions of ours to a deploy step. Times in seconds; ``max_failures`` is a count of clusters."""

    health_timeout: float = 300.0
    soak: float = 0.0
    max_failures: int = 0
    on_unreachable: OnUnreachable = OnUnreachable.GO_ON
    drain: Drain | None = None


class StepKind(StrEnum):
    """The workflow steps that Flotilla walks (KubeVela's names)."""

    DEPLOY = "deploy"
    APPLY_COMPONENT = "apply-component"
    SUSPEND = "suspend"
    GROUP = "step-group"
    NOTIFICATION = "notification"
    READ_OBJECT = "read-object"


class Mode(StrEnum):
    """How steps without dependsOn follow one another."""

    STEP_BY_STEP = "StepByStep"
    DAG = "DAG"


@dataclass(frozen=True)
class ObjectRef:
    """Which object a read-object step reads, and where."""

    cluster: str
    api_version: str
    kind: str
    namespace: str
    name: str


@dataclass(frozen=True)
class Output:
    """A value that a step hands on: the path in the object read (``("status", "ready")``), or a value known beforehand."""

    name: str
    path: tuple[str | int, ...] = ()
    value: str | None = None


@dataclass(frozen=True)
class Fill:
    """An input whose value goes into a webhook's body at a path: ``("text",)``."""

    input: str
    path: tuple[str | int, ...]


@dataclass(frozen=True)
class Webhook:
    """Where a notification goes: a URL, or a reference to what holds it; and the JSON body.

    ``secret`` is ``env:NAME`` or ``secret:NAMESPACE/NAME/KEY``. ``fills`` are put into the body once their values are known:
    flotilla.workflow.filled.
    """

    url: str = ""
    secret: str = ""
    body: str = ""
    fills: tuple[Fill, ...] = ()


@dataclass(frozen=True)
class Step:
    """One workflow step. Only the fields of its kind are set; ``condition`` is the text of ``if``.

    ``timeout`` and ``duration`` in seconds. ``gate`` is true where a person must agree before the step runs
    (``deploy`` with ``auto: false``, ``suspend`` without duration).
    """

    name: str
    kind: StepKind
    condition: str = ""
    timeout: float | None = None
    depends_on: tuple[str, ...] = ()
    sub_steps: tuple[Step, ...] = ()
    sub_mode: Mode = Mode.DAG
    deliveries: tuple[Delivery, ...] = ()
    parallelism: int = 5
    gate: bool = False
    message: str = ""
    duration: float | None = None
    wave: WavePolicy = WavePolicy()
    webhooks: tuple[Webhook, ...] = ()
    read: ObjectRef | None = None
    outputs: tuple[Output, ...] = ()
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Intent:
    """An Application resolved against a fleet: complete, printable, comparable. ``source`` is the file it came from."""

    name: str
    namespace: str
    mode: Mode
    steps: tuple[Step, ...]
    source: str = ""
    keep_revisions: int = 10
    keep_legacy: bool = False
    prune_after_failure: bool = False
    prune_in_order: bool = False
    warnings: tuple[str, ...] = field(default=())

    @property
    def steps_and_deliveries(self) -> tuple[tuple[str, Delivery], ...]:
        """Every delivery with the name of its step, groups included, in the order of the steps."""
        steps = [sub for step in self.steps for sub in (step.sub_steps or (step,))]
        return tuple((step.name, delivery) for step in steps for delivery in step.deliveries)

    @property
    def deliveries(self) -> tuple[Delivery, ...]:
        """Every delivery of every step, groups included, in the order of the steps."""
        return tuple(delivery for _, delivery in self.steps_and_deliveries)

    @property
    def clusters(self) -> tuple[str, ...]:
        """The clusters that this application is delivered to, each once, in the order of the steps."""
        return tuple(dict.fromkeys(delivery.cluster for delivery in self.deliveries))
