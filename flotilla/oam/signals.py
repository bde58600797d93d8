"""What steps share and what they say to each other and to people: conditions, inputs, outputs, messages, objects read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from flotilla.errors import InvalidInput, Problem, phrase
from flotilla.intent import Fill, Intent, ObjectRef, Output, Step, StepKind, Webhook
from flotilla.oam.documents import OutputPart
from flotilla.oam.expressions import ALWAYS, parse, parse_path, paths
from flotilla.oam.places import Place, one_of
from flotilla.oam.resolution import Application, PlacedStep
from flotilla.oam.step_models import Channel, Notification, ReadObject, Url, WebhookStep
from flotilla.workflow import CONTEXT_FIELDS, STATUS_FIELDS, circle

_SENDING = ("notification", "webhook")


def common(placed: PlacedStep, application: Application) -> Step:
    """Return a step with what does not depend on its type; its kind is still to be set."""
    part = placed.part
    for index, one in enumerate(part.inputs):
        if one.parameter_key and part.type not in _SENDING:
            at = placed.place / "inputs" / index / "parameterKey"
            raise InvalidInput(
                [at.problem(one.parameter_key, f"no parameterKey in a {part.type}: inputs fill messages, and if")]
            )
    return Step(
        name=part.name,
        kind=StepKind.DEPLOY,
        condition=part.condition,
        timeout=part.timeout,
        depends_on=tuple(part.depends_on),
        inputs=tuple(one.from_ for one in part.inputs),
        outputs=tuple(_output(one, part, placed.place / "outputs" / i, application) for i, one in enumerate(part.outputs)),
    )


def _output(output: OutputPart, part: Any, place: Place, application: Application) -> Output:
    """Return an output: a path in the object that a read-object step reads, or a part of the context, known beforehand."""
    known = {"name": application.name, "appName": application.name, "namespace": application.namespace, "stepName": part.name}
    allowed = "a path into context" + (" or output.value" if part.type == "read-object" else "")
    try:
        path = parse_path(output.value_from)
    except ValueError:
        path = ()
    if len(path) == 2 and path[0] == "context" and path[1] in known:
        return Output(output.name, value=known[str(path[1])])
    if part.type == "read-object" and path[:2] == ("output", "value"):
        return Output(output.name, path=path[2:])
    raise InvalidInput([(place / "valueFrom").problem(output.value_from, allowed)])


def reading(step: Step, given: ReadObject, cluster: str) -> Step:
    """Return a read-object step."""
    where = ObjectRef(cluster, given.api_version, given.kind, given.namespace, given.name)
    return replace(step, kind=StepKind.READ_OBJECT, read=where)


def sending(step: Step, given: Notification | WebhookStep, placed: PlacedStep, application: Application) -> Step:
    """Return a step that posts messages."""
    fills = dict(_fills(placed))
    if isinstance(given, WebhookStep):
        wanted = given.data if given.data is not None else {"name": application.name, "namespace": application.namespace}
        inside = tuple(Fill(name, path[1:]) for name, path in fills.items() if path[:1] == ("data",) and len(path) > 1)
        hooks: tuple[Webhook, ...] = (_webhook(given.url, wanted, inside, application),)
    else:
        named = (("slack", given.slack), ("dingding", given.dingding), ("lark", given.lark))
        hooks = tuple(_message(name, channel, fills, placed, application) for name, channel in named if channel is not None)
    used = {fill.input for hook in hooks for fill in hook.fills}
    for index, one in enumerate(placed.part.inputs):
        if one.parameter_key and one.from_ not in used:
            at = placed.place / "inputs" / index / "parameterKey"
            raise InvalidInput(
                [at.problem(one.parameter_key, "a field of the message, such as slack.message.text or data.text")]
            )
    return replace(step, kind=StepKind.NOTIFICATION, webhooks=hooks)


def _fills(placed: PlacedStep) -> Iterator[tuple[str, tuple[str | int, ...]]]:
    for index, one in enumerate(placed.part.inputs):
        if one.parameter_key:
            try:
                yield one.from_, parse_path(one.parameter_key)
            except ValueError as error:
                at = placed.place / "inputs" / index / "parameterKey"
                raise InvalidInput([at.problem(one.parameter_key, str(error))]) from None


_NEEDED = {"slack": ("text",), "dingding": (), "lark": ("msg_type", "content")}


def _message(
    name: str, channel: Channel, fills: Mapping[str, tuple[str | int, ...]], placed: PlacedStep, application: Application
) -> Webhook:
    inside = tuple(Fill(i, path[2:]) for i, path in fills.items() if path[:2] == (name, "message") and len(path) > 2)
    given = {**({"msgtype": "text"} if name == "dingding" else {}), **channel.message}
    there = {*given, *(str(fill.path[0]) for fill in inside)}
    missing = [key for key in _NEEDED[name] if key not in there]
    if missing:
        at = placed.place / "properties" / name / "message"
        raise InvalidInput([at.problem(channel.message, f"a message with {', '.join(missing)}")])
    return _webhook(channel.url, given, inside, application)


def _webhook(url: Url, body: Mapping[str, Any], fills: tuple[Fill, ...], application: Application) -> Webhook:
    secret = ""
    if url.secret_ref is not None:
        secret = f"secret:{application.namespace}/{url.secret_ref.name}/{url.secret_ref.key}"
    elif url.flotilla is not None:
        secret = f"env:{url.flotilla.env}"
    return Webhook(url.value or "", secret, json.dumps(body, ensure_ascii=False), fills)


def problems_between(intent: Intent, places: Mapping[str, Place]) -> Iterator[Problem]:
    """Return what is wrong between steps: names that stand twice or nowhere, and steps that wait for each other."""
    steps = [step for top in intent.steps for step in (top, *top.sub_steps)]
    names = {step.name for step in steps}
    outputs = {output.name for step in steps for output in step.outputs}
    whole = True
    for step in steps:
        place = places[step.name]
        for index, name in enumerate(step.depends_on):
            if name not in names or name == step.name:
                whole = False
                yield (place / "dependsOn" / index).problem(name, one_of(names - {step.name}, name))
        for index, name in enumerate(step.inputs):
            if name not in outputs:
                yield (place / "inputs" / index / "from").problem(name, f"an output of another step, {one_of(outputs, name)}")
        for problem in _in_condition(step, names, place / "if"):
            whole = False
            yield problem
    round_trip = circle(intent) if whole else ()
    if round_trip:
        found = phrase("wait for each other: " + " -> ".join(round_trip))
        yield places[round_trip[0]].problem(found, "steps that wait for earlier ones; StepByStep waits for all before, too")


def _in_condition(step: Step, names: set[str], place: Place) -> Iterator[Problem]:
    if step.condition in ("", ALWAYS):
        return
    for parts in paths(parse(step.condition)):
        match parts:
            case ("status", name, field) if name in names - {step.name} and field in STATUS_FIELDS:
                continue
            case ("status", name, field) if name in names - {step.name}:
                allowed = "status.<step>." + one_of(STATUS_FIELDS, str(field))
            case ("status", *_):
                allowed = "status.<step>.<field> with a step, " + one_of(names - {step.name})
            case ("inputs", name, *_) if name in step.inputs:
                continue
            case ("context", name) if name in CONTEXT_FIELDS:
                continue
            case _:
                allowed = 'status.<step>.<field>, inputs["<input of this step>"] or context.' + "|".join(CONTEXT_FIELDS)
        yield place.problem(step.condition, allowed)
