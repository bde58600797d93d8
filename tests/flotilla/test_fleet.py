"""The fleet file: what is read from it, and what is said about one that is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from flotilla.errors import InvalidInput, Problem
from flotilla.fleet import Role, parse_fleet
from flotilla.services.facts import ImportModel
from flotilla.services.policy import Damping, Policy

GOOD = (Path(__file__).parents[2] / "deployments" / "fleet.yaml").read_text()


def changed(**clusters: Any) -> str:
    """Return the good file with fields of its clusters replaced: ``changed(remote={"role": "production"})``."""
    document = yaml.safe_load(GOOD)
    for cluster in document["clusters"]:
        cluster.update(clusters.get(cluster["name"].replace("-", "_"), {}))
    return yaml.safe_dump(document)


def problems(text: str) -> tuple[Problem, ...]:
    with pytest.raises(InvalidInput) as raised:
        parse_fleet(text, "fleet.yaml")
    return raised.value.problems


def test_the_shipped_file_names_three_centres_in_two_cities():
    fleet = parse_fleet(GOOD, "fleet.yaml")

    assert [Role.PRODUCTION, Role.SAME_CITY, Role.REMOTE] == [cluster.role for cluster in fleet.clusters]
    assert {"hangzhou", "beijing"} == {cluster.site.city for cluster in fleet.clusters}
    assert "production" == fleet.production.name


def test_a_cluster_is_found_by_name_and_a_wrong_name_is_answered_with_those_there_are():
    fleet = parse_fleet(GOOD, "fleet.yaml")

    assert "remote" == fleet.cluster("remote").name
    with pytest.raises(KeyError, match="production, same-city, remote"):
        fleet.cluster("remoet")


@pytest.mark.parametrize(
    ("text", "field", "value", "allowed"),
    [
        (changed(remote={"role": "production"}), "clusters[2].role", "production", "same-city or remote"),
        (changed(production={"role": "remote"}), "clusters", "has no cluster of role production", "exactly one"),
        (changed(remote={"name": "production"}), "clusters[2].name", "production", "no other cluster"),
        (changed(remote={"name": "Remote_1"}), "clusters[2].name", "Remote_1", "DNS label"),
        (changed(remote={"nam": 1}), "clusters[2].nam", 1, "kubeconfig, labels, metrics, name, role, site"),
        (changed(remote={"role": "standby"}), "clusters[2].role", "standby", "'production', 'same-city' or 'remote'"),
        (
            changed(remote={"kubeconfig": {"context": "production"}}),
            "clusters[2].kubeconfig.context",
            "production",
            "of its own",
        ),
        (changed(remote={"labels": {"a b": "c"}}), "clusters[2].labels", {"a b": "c"}, "label keys and values"),
        (GOOD.replace("pruneGuard: 5", "pruneGuard: -1"), "approvals.pruneGuard", -1, "greater than or equal to 0"),
        (GOOD.replace("onSilence: reject", "onSilence: shrug"), "approvals.onSilence", "shrug", "pattern"),
        ("[]", "", "is not a mapping", "one YAML document"),
        (GOOD + "---\nname: two\n", "", "holds 2 documents", "one YAML document"),
    ],
)
def test_what_is_wrong_is_named_by_field_value_and_what_is_allowed(text, field, value, allowed):
    found = problems(text)

    assert (field, value) in [(problem.field, problem.value) for problem in found]
    assert allowed in " ".join(problem.allowed for problem in found)
    assert all(problem.file == "fleet.yaml" for problem in found)


def test_every_problem_is_told_at_once():
    found = problems(changed(remote={"role": "standby"}, same_city={"name": "Same_City"}))

    assert {"clusters[2].role", "clusters[1].name"} == {problem.field for problem in found}


@pytest.mark.parametrize(
    ("text", "place"),
    [("clusters: [}", "fleet.yaml:1:12"), ("name: a\nname: b\n", "fleet.yaml:2:1"), ("\tname: a\n", "fleet.yaml:1:1")],
)
def test_malformed_yaml_is_placed_by_line_and_column(text, place):
    assert [place] == [problem.file for problem in problems(text)]


def test_file_and_secret_exclude_each_other():
    both = {"kubeconfig": {"file": "a", "secret": {"namespace": "n", "name": "s"}}}

    assert ["clusters[2].kubeconfig"] == [problem.field for problem in problems(changed(remote=both))]


def with_services(services: str) -> str:
    return f"clusters:\n  - {{name: c1, role: production, site: {{name: s1, city: h}}}}\nservices: {services}\n"


def test_services_are_wired_by_the_standard_unless_the_file_says_otherwise():
    fleet = parse_fleet(with_services("{}"), "fleet.yaml")

    assert Policy() == fleet.services.policy()
    assert fleet.services.probes.image.startswith("registry.k8s.io/")


def test_what_the_file_says_of_services_becomes_the_policy():
    text = "{imports: declared, refusedNamespaces: [ops], withdrawalCap: 3, damping: {withdrawAfter: 60, failures: 4}}"

    policy = parse_fleet(with_services(text), "fleet.yaml").services.policy()

    damping = Damping(withdraw_after=60, failures=4)
    assert Policy(ImportModel.DECLARED, frozenset({"ops"}), 3, damping=damping) == policy


@pytest.mark.parametrize(
    ("services", "problem"),
    [
        ("{import: automatic}", "services.import"),
        ("{imports: everywhere}", "services.imports"),
        ("{withdrawalCap: -1}", "services.withdrawalCap"),
        ("{refusedNamespaces: [Kube_System]}", "services.refusedNamespaces"),
        ("{probes: {perSecond: 0}}", "services.probes.perSecond"),
        ("{damping: {failures: 0}}", "services.damping.failures"),
        ("{damping: {patience: 1}}", "services.damping.patience"),
        ("{readyNeedsAnswer: true, probes: {enabled: false}}", "readyNeedsAnswer"),
    ],
)
def test_what_is_wrong_with_the_services_is_named(services, problem):
    with pytest.raises(InvalidInput, match=problem):
        parse_fleet(with_services(services), "fleet.yaml")
