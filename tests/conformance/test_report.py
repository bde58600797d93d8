"""What is read off the suite's report, and that nothing but 27 passed specs counts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lab.errors import LabError
from tests.conformance import standins, suite
from tests.conformance.report import SPECS, Row, complaint, figures, rows


def spec(number: int, state: str = "passed", **more: Any) -> dict[str, Any]:
    """One spec as Ginkgo reports it; every third is required by its container's label."""
    return {
        "LeafNodeType": "It",
        "LeafNodeText": f"does {number}",
        "LeafNodeLabels": [],
        "LeafNodeLocation": {"FileName": f"conformance/{'b' if number % 2 else 'a'}.go", "LineNumber": 100 - number},
        "ContainerHierarchyTexts": ["", "A service"],
        "ContainerHierarchyLabels": [["Required"] if number % 3 == 0 else ["Optional"], None],
        "State": state,
        "RunTime": number * 1_500_000_000,
    } | more


def report(*specs: dict[str, Any], count: int = SPECS, succeeded: bool | None = None) -> list[dict[str, Any]]:
    every = [*specs, *(spec(number) for number in range(len(specs), count))]
    well = all(one["State"] == "passed" for one in every)
    before = {"LeafNodeType": "BeforeSuite", "State": "passed", "RunTime": 1}
    suite_ = {"SuiteSucceeded": well if succeeded is None else succeeded, "RunTime": 345_000_000_000}
    return [suite_ | {"SpecReports": [before, *every]}]


def test_exactly_27_passed_specs_prove_it():
    assert 27 == SPECS
    assert "" == complaint(report())


@pytest.mark.parametrize("count", [0, 1, SPECS - 1, SPECS + 1])
def test_another_number_of_specs_is_another_suite(count):
    assert f"has {count} specs, expected 27" in complaint(report(count=count))


@pytest.mark.parametrize("state", ["failed", "panicked", "timedout", "interrupted", "aborted"])
def test_one_spec_that_did_not_pass_is_enough_to_fail(state):
    failure = {"Failure": {"Message": "no import\nmore of it"}}
    seen = report(spec(0, state, **failure))

    assert "1 of 27 specs failed, 0 were skipped" == complaint(seen)
    assert [("failed", "no import")] == [(row.result, row.why) for row in rows(seen) if row.result != "passed"]


@pytest.mark.parametrize("state", ["skipped", "pending"])
def test_one_skipped_spec_is_enough_to_fail(state):
    assert "0 of 27 specs failed, 1 were skipped" == complaint(report(spec(0, state)))


def test_a_suite_that_fails_outside_of_its_specs_has_failed():
    seen = report(succeeded=False)
    seen[0]["SpecReports"].append(
        {"LeafNodeType": "AfterSuite", "State": "failed", "RunTime": 1, "Failure": {"Message": "left over"}}
    )

    assert "every spec passed, but the suite did not: left over" == complaint(seen)


def test_rows_are_in_the_order_of_the_suite_required_ones_first():
    every = rows(report())

    assert [True] * 9 + [False] * 18 == [row.required for row in every]
    assert Row(True, "a.go", 76, "A service does 24", "passed", 36.0) == every[0]
    assert every == sorted(every, key=lambda row: (not row.required, row.file, row.line))


def test_figures_are_one_line_of_json():
    told = json.loads(json.dumps(figures(report(spec(0, "failed"), spec(1, "skipped")))))

    assert {"passed": 25, "failed": 1, "skipped": 1, "seconds": 345.0} == {key: told[key] for key in list(told)[:4]}
    assert ["A service does 0", "A service does 1"] == told["not_passed"]


def test_the_suite_is_told_all_clusters_and_leaves_nothing_out(tmp_path):
    told = suite.command(tmp_path / "suite", "kubeconfig", tmp_path / "specs.json")

    assert "production,same-city,remote" == told[told.index("-contexts") + 1]
    assert not [word for word in told if "focus" in word or "skip" in word or "label" in word]


@pytest.mark.parametrize(("name", "seen"), [("", "no suite given"), ("/dev/null", "/dev/null is no program")])
def test_without_the_suites_program_it_says_what_is_expected(name, seen):
    with pytest.raises(SystemExit, match=f"{seen}: expected SUITE=FILE"):
        suite.checked(name)


def test_a_programs_libraries_go_into_its_image():
    listed = "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/libc.so.6 (0x00007f)\n\t/lib64/ld-linux.so.2 (0x00007f)\n"

    assert ["/lib/libc.so.6", "/lib64/ld-linux.so.2"] == standins.libraries(listed)
    with pytest.raises(LabError, match=r"lacks its own libraries libx\.so"):
        standins.libraries("\tlibx.so => not found\n")
