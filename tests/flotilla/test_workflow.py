"""The walk through a workflow: what runs, what is skipped, and that it always comes to its end."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flotilla.intent import Fill, Intent, Mode, Output, Step, StepKind, Webhook
from flotilla.oam.expressions import holds, parse, parse_path
from flotilla.workflow import Outcome, Outcomes, Phase, circle, filled, prerequisites, ready, state_of

OK, BAD, LATE, SKIPPED, RUNNING = (
    Outcome(phase) for phase in (Phase.SUCCEEDED, Phase.FAILED, Phase.TIMEOUT, Phase.SKIPPED, Phase.RUNNING)
)


def one(name: str, condition: str = "", **more: Any) -> Step:
    return Step(name, StepKind.DEPLOY, condition, **more)


def group(name: str, *subs: Step, mode: Mode = Mode.DAG, **more: Any) -> Step:
    return Step(name, StepKind.GROUP, sub_steps=subs, sub_mode=mode, **more)


def intent(*parts: Step, mode: Mode = Mode.STEP_BY_STEP) -> Intent:
    return Intent("app", "default", mode, parts)


def now(of: Intent, **outcomes: Outcome) -> tuple[list[str], list[str]]:
    """Return the names of what runs and of what is skipped."""
    answer = ready(of, outcomes)
    return [step.name for step in answer.run], [step.name for step, _ in answer.skip]


ABC = (one("a"), one("b"), one("c"))


@pytest.mark.parametrize(
    ("of", "outcomes", "expected"),
    [
        (intent(*ABC), {}, (["a"], [])),
        (intent(*ABC), {"a": RUNNING}, ([], [])),
        (intent(*ABC), {"a": OK}, (["b"], [])),
        (intent(*ABC), {"a": BAD}, ([], ["b"])),
        (intent(*ABC), {"a": BAD, "b": SKIPPED}, ([], ["c"])),
        (intent(*ABC), {"a": LATE}, ([], ["b"])),
        (intent(one("a"), one("b", "status.a.failed"), one("c")), {"a": OK, "b": SKIPPED}, (["c"], [])),
        (intent(*ABC, mode=Mode.DAG), {}, (["a", "b", "c"], [])),
        (intent(one("a"), one("b", depends_on=("a",)), mode=Mode.DAG), {}, (["a"], [])),
        (intent(one("a"), one("b", depends_on=("a",)), one("c"), mode=Mode.DAG), {"a": BAD}, (["c"], ["b"])),
        (
            intent(one("a"), one("b", depends_on=("a",)), one("c", depends_on=("b",)), mode=Mode.DAG),
            {"a": BAD, "b": SKIPPED},
            ([], ["c"]),
        ),
        (intent(one("a"), one("b", "always")), {"a": BAD}, (["b"], [])),
        (intent(one("a"), one("b", 'status.a.phase == "failed"')), {"a": LATE}, (["b"], [])),
        (intent(one("a"), one("b", 'status["a"].timeout')), {"a": LATE}, (["b"], [])),
        (intent(one("a"), one("b", "status.a.succeeded"), mode=Mode.DAG), {}, (["a"], [])),
        (intent(one("a", 'context.name == "app"')), {}, (["a"], [])),
        (intent(group("g", *ABC)), {}, (["a", "b", "c"], [])),
        (intent(group("g", *ABC, mode=Mode.STEP_BY_STEP)), {"a": OK}, (["b"], [])),
        (intent(group("g", *ABC), one("d")), {"a": OK, "b": OK}, (["c"], [])),
        (intent(group("g", *ABC), one("d")), {"a": OK, "b": OK, "c": OK}, (["d"], [])),
        (intent(group("g", *ABC), one("d")), {"a": BAD, "b": OK, "c": OK}, ([], ["d"])),
        (intent(group("g", *ABC), one("d", "status.g.failed")), {"a": BAD, "b": OK, "c": OK}, (["d"], [])),
        (intent(one("z"), group("g", *ABC), one("d")), {"z": BAD}, ([], ["a", "b", "c"])),
        (intent(group("g", *ABC)), {"g": LATE, "a": OK}, ([], ["b", "c"])),
        (
            intent(group("g", one("a"), one("b", "always"), condition="status.z.failed"), one("z"), mode=Mode.DAG),
            {"z": OK},
            ([], ["a", "b"]),
        ),
    ],
)
def test_the_next_move(of: Intent, outcomes: dict[str, Outcome], expected: tuple[list[str], list[str]]) -> None:
    assert now(of, **outcomes) == expected


def test_inputs_wait_for_their_producer_and_a_missing_one_skips() -> None:
    of = intent(
        one("read", outputs=(Output("x", ("status",)), Output("app", value="app"))),
        one("use", 'inputs["x"] == 0', inputs=("x",)),
        one("tell", inputs=("app",)),
        mode=Mode.DAG,
    )
    assert now(of) == (["read"], [])
    assert now(of, read=Outcome(Phase.SUCCEEDED, values={"x": 0})) == (["use", "tell"], [])
    assert now(of, read=Outcome(Phase.SUCCEEDED, values={"x": 1})) == (["tell"], ["use"])
    assert now(of, read=BAD) == ([], ["use", "tell"])


def test_the_end_and_whether_it_was_a_good_one() -> None:
    of = intent(*ABC)
    assert (ready(of, {"a": OK, "b": OK}).finished, ready(of, {"a": OK, "b": OK, "c": OK}).finished) == (False, True)
    assert (ready(of, {"a": BAD}).failed, ready(of, {"a": LATE}).failed, ready(of, {"a": SKIPPED}).failed) == (
        True,
        True,
        False,
    )
    assert "a did not succeed" in ready(of, {"a": BAD}).skip[0][1]


@pytest.mark.parametrize(
    ("outcomes", "phase"),
    [
        ({}, None),
        ({"a": OK}, Phase.RUNNING),
        ({"a": OK, "b": SKIPPED}, Phase.SUCCEEDED),
        ({"a": SKIPPED, "b": SKIPPED}, Phase.SKIPPED),
        ({"a": OK, "b": LATE}, Phase.FAILED),
    ],
)
def test_a_group_is_what_its_steps_are(outcomes: dict[str, Outcome], phase: Phase | None) -> None:
    state = state_of(group("g", one("a"), one("b")), outcomes)
    assert phase == (state.phase if state else None)


def test_steps_in_a_circle() -> None:
    assert circle(intent(one("a", depends_on=("b",)), one("b"))) != ()
    assert circle(intent(one("a", "status.b.failed"), one("b"), mode=Mode.DAG)) == ()
    assert circle(intent(group("g", one("a", depends_on=("g",))))) != ()


def test_inputs_fill_messages() -> None:
    hook = Webhook(body='{"a": {"b": 1}}', fills=(Fill("x", ("a", "text")), Fill("y", ("n",))))
    assert json.loads(filled(hook, {"x": "hello", "y": {"z": 1}})) == {"a": {"b": 1, "text": "hello"}, "n": '{"z": 1}'}
    assert filled(Webhook(body="{}"), {}) == "{}"


SCOPE = {
    "status": {"a-b": {"failed": True}, "c": {"phase": "succeeded"}},
    "inputs": {"n": 3, "t": "x", "z": None, "l": [{"k": 1}]},
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('status["a-b"].failed', True),
        ("!status.c.failed", True),
        ('status.c.phase == "succeeded" && inputs.n > 2', True),
        ('(status.c.phase != "succeeded" || inputs.n >= 3) && true', True),
        ('inputs.t == "y" || false', False),
        ("inputs.z == null", True),
        ("inputs.nothing == 0", False),
        ("inputs.t < 3", False),
        ("inputs.n == true", False),
        ("true == 1", False),
        ("inputs.l[0].k == 1", True),
        ("inputs.l[5].k == 1", False),
        ("inputs.n == 3.0", True),
        ("inputs.n > -1", True),
        ("inputs.n", False),
    ],
)
def test_conditions(text: str, value: bool) -> None:
    assert holds(parse(text), SCOPE) is value


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "a value or a path"),
        ("a ==", "column 5"),
        ("a = b", "'='"),
        ("(a", r"'\)'"),
        ("(" * 5000, "less deep"),
        ("a b", "nothing after"),
        ("status.a-b.failed", "column"),
        ("status.1a", 'write \\["1"\\]'),
        ("status[a]", "a string or a number"),
        ("__import__('os')", "without"),
        ("f(1)", "nothing after"),
        ("a + b", "without '\\+'"),
    ],
)
def test_what_is_no_condition(text: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        parse(text)


@given(st.text('status."[]()!&|=<>0a \\', max_size=20))
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    try:
        tree = parse(text)
    except ValueError:
        return
    assert holds(tree, SCOPE) in (True, False)


def test_paths() -> None:
    assert parse_path('output.value.status["ready-now"][0]') == ("output", "value", "status", "ready-now", 0)
    with pytest.raises(ValueError, match="a path such as"):
        parse_path("a == b")


@st.composite
def workflows(draw: st.DrawFn) -> Intent:
    """Draw a workflow whose steps wait for earlier ones only: steps, groups, conditions, inputs, both modes."""
    names: list[str] = []
    outputs: list[str] = []

    def step(name: str) -> Step:
        depends = draw(st.lists(st.sampled_from(names), max_size=2, unique=True)) if names else []
        other = draw(st.sampled_from(names)) if names else ""
        conditions = ["", "", "always", *([f"status.{other}.failed", f"!status.{other}.succeeded"] if other else [])]
        inputs = draw(st.lists(st.sampled_from(outputs), max_size=1)) if outputs else []
        made = one(
            name,
            draw(st.sampled_from(conditions)),
            depends_on=tuple(depends),
            inputs=tuple(inputs),
            outputs=(Output(f"o-{name}", ("x",)),) if draw(st.booleans()) else (),
        )
        outputs.extend(output.name for output in made.outputs)
        return made

    parts = []
    for number in range(draw(st.integers(1, 6))):
        if draw(st.booleans()):
            parts.append(step(f"s{number}"))
        else:
            before = list(names)
            head = replace(step(f"g{number}"), outputs=(), inputs=())
            subs = []
            for index in range(draw(st.integers(1, 3))):
                subs.append(step(f"g{number}s{index}"))
                names.append(subs[-1].name)
            names[:] = [*before, *(sub.name for sub in subs)]
            parts.append(replace(head, kind=StepKind.GROUP, sub_steps=tuple(subs), sub_mode=draw(st.sampled_from(Mode))))
        outputs[:] = [name for name in outputs if name != f"o-g{number}"]
        names.append(parts[-1].name)
    return intent(*parts, mode=draw(st.sampled_from(Mode)))


def singles(of: Intent) -> list[Step]:
    return [sub for top in of.steps for sub in (top.sub_steps or (top,))]


@given(workflows(), st.data())
def test_every_step_has_one_end_in_the_right_order(of: Intent, data: st.DataObject) -> None:
    outcomes: dict[str, Outcome] = {}
    waits = prerequisites(of)
    started: list[str] = []
    for _ in range(10 * len(singles(of)) + 10):
        answer = ready(of, outcomes)
        if answer.finished:
            break
        for step, reason in answer.skip:
            assert step.name not in outcomes
            assert reason
            outcomes[step.name] = SKIPPED
        for step in answer.run:
            assert step.name not in outcomes
            assert step.kind is not StepKind.GROUP
            assert all(_finished(of, name, outcomes) for name in waits[step.name])
            started.append(step.name)
            outcomes[step.name] = RUNNING
        running = [name for name, outcome in outcomes.items() if outcome is RUNNING]
        assert running or answer.skip, "nothing runs and nothing is decided"
        if running:
            name = data.draw(st.sampled_from(sorted(running)))
            values = {f"o-{name}": 1} if data.draw(st.booleans()) else {}
            outcomes[name] = Outcome(data.draw(st.sampled_from([Phase.SUCCEEDED, Phase.FAILED, Phase.TIMEOUT])), values=values)
    assert ready(of, outcomes).finished
    assert sorted(outcomes) == sorted(step.name for step in singles(of))
    assert len(started) == len(set(started))


@given(workflows(), st.data())
def test_without_failures_what_has_no_condition_and_no_input_runs(of: Intent, data: st.DataObject) -> None:
    outcomes: dict[str, Outcome] = {}
    while not (answer := ready(of, outcomes)).finished:
        outcomes |= {step.name: SKIPPED for step, _ in answer.skip}
        outcomes |= {step.name: Outcome(Phase.SUCCEEDED, values={f"o-{step.name}": 1}) for step in answer.run}
    tops = {sub.name: top for top in of.steps for sub in top.sub_steps}
    for step in singles(of):
        above = tops.get(step.name, step)
        if not (step.condition or step.inputs or above.condition or above.inputs):
            assert outcomes[step.name].phase is Phase.SUCCEEDED


def _finished(of: Intent, name: str, outcomes: Outcomes) -> bool:
    top = next((one for one in of.steps if one.name == name), None)
    state = state_of(top, outcomes) if top is not None and top.sub_steps else outcomes.get(name)
    return state is not None and state.finished
