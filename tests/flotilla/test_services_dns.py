"""DNS of the clusterset: Corefiles that serve it, the least change to those that do not, and the commands for it."""

from __future__ import annotations

import pytest

from flotilla.facts import Unknown
from flotilla.services import corefile
from flotilla.services.dnsground import DnsGround, judge_dns, version_of
from tests.flotilla.groundwork import COREFILE, SERVING, dns


def test_the_least_is_changed_of_a_corefile() -> None:
    found = corefile.read_corefile(COREFILE)

    assert SERVING == found.wanted
    assert ("", True) == (found.served_by, found.reloads)
    assert (
        "the kubernetes plugin has no zone clusterset.local, and it has no option `multicluster clusterset.local`"
        == found.reason
    )
    assert corefile.Answer("kubernetes", reloads=True) == corefile.read_corefile(SERVING)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            ".:53 {\n  kubernetes cluster.local\n}\n",
            ".:53 {\n  kubernetes cluster.local clusterset.local {\n      multicluster clusterset.local\n  }\n}\n",
        ),
        (
            "cluster.local:5300 {\n\tkubernetes cluster.local {\n\t\tttl 5\n\t}\n}\n.:53 {\n\tforward . 192.0.2.1\n}\n",
            (
                "cluster.local:5300 clusterset.local:5300 {\n\tkubernetes cluster.local clusterset.local {\n"
                "\t\tmulticluster clusterset.local\n\t\tttl 5\n\t}\n}\n.:53 {\n\tforward . 192.0.2.1\n}\n"
            ),
        ),
        (
            ". {\n kubernetes corp.example clusterset.local {\n }\n}\n",
            ". {\n kubernetes corp.example clusterset.local {\n     multicluster clusterset.local\n }\n}\n",
        ),
        (
            ". {\n kubernetes cluster.local { # ours\n  multicluster other.local\n }\n}\n",
            ". {\n kubernetes cluster.local clusterset.local { # ours\n  multicluster other.local clusterset.local\n }\n}\n",
        ),
        (
            ". {\n kubernetes cluster.local { # ours\n  ttl 5\n }\n}\n",
            ". {\n kubernetes cluster.local clusterset.local { # ours\n  multicluster clusterset.local\n  ttl 5\n }\n}\n",
        ),
    ],
)
def test_a_corefile_in_another_shape_serves_the_zone_after_its_change(text: str, wanted: str) -> None:
    assert wanted == corefile.read_corefile(text).wanted
    assert "kubernetes" == corefile.read_corefile(wanted).served_by


@pytest.mark.parametrize(
    ("text", "served_by", "reason"),
    [
        ("clusterset.local:53 {\n forward . 192.0.2.9\n}\n" + COREFILE, "forward", ""),
        (".:53 {\n lighthouse clusterset.local\n kubernetes cluster.local\n}\n", "lighthouse", ""),
        (".:53 {\n multicluster clusterset.local\n kubernetes cluster.local\n}\n", "multicluster", ""),
        (".:53 {\n kubernetes {$DOMAIN}\n}\n", "", "its kubernetes plugin names no zone of the cluster"),
        (".:53 {\n import ../shared\n}\n", "", "it has no kubernetes plugin"),
        (".:53 {\n kubernetes cluster.local {\n}\n", "", "the block opened in line 1 is not closed"),
        ("}\n", "", "line 1 closes a block that was not opened"),
        ("# nothing\nstray\n", "", "line 2: 'stray' is followed by no block"),
    ],
)
def test_what_another_answers_or_only_a_person_can_tell_is_left(text: str, served_by: str, reason: str) -> None:
    found = corefile.read_corefile(text)

    assert (served_by, None) == (found.served_by, found.wanted)
    assert reason in found.reason


@pytest.mark.parametrize(
    ("found", "state", "text", "commands"),
    [
        (dns(), "fine", "", []),
        (dns(corefile=COREFILE), "problem", "CoreDNS v1.12.2 does not serve clusterset.local", ["patch configmap coredns"]),
        (
            dns(corefile=COREFILE.replace("    reload\n", "")),
            "problem",
            "does not serve",
            ["patch configmap", "rollout restart"],
        ),
        (dns(corefile=COREFILE, kept_by="the EKS add-on"), "problem", "the EKS add-on keeps ConfigMap", ["patch configmap"]),
        (dns(corefile=COREFILE, version="v1.11.4-eksbuild.2"), "problem", "upgrade to 1.12.2 or newer first", []),
        (dns(version="latest"), "unknown", "the image's tag 'latest' is no version", []),
        (dns(reads_imports=False), "problem", "may not list and watch serviceimports", ["apply -f -"]),
        (dns(reads_imports=Unknown("c1", "HTTP 403")), "unknown", "HTTP 403", []),
        (Unknown("c1", "no CoreDNS"), "unknown", "no CoreDNS", []),
    ],
)
def test_dns_is_judged_with_the_commands_that_mend_it(
    found: DnsGround | Unknown, state: str, text: str, commands: list[str]
) -> None:
    told = list(judge_dns(found, defined=True))
    changes = [line for _, _, _, change in told for line in change.splitlines() if line.startswith("kubectl --context c1")]

    assert state == told[0][0]
    assert text in " ".join(entry[2] for entry in told)
    assert len(commands) == len(changes)
    assert all(part in command for part, command in zip(commands, changes, strict=True))


def test_the_right_to_read_imports_comes_before_the_zone_and_the_definition_before_both() -> None:
    changes = [change for *_, change in judge_dns(dns(corefile=COREFILE, reads_imports=False), defined=False) if change]

    assert 1 == len(changes)
    assert changes[0].startswith("# after flotilla check --install-crds")
    assert changes[0].index("ClusterRoleBinding") < changes[0].index("patch configmap")
    assert '{"kind": "ServiceAccount", "namespace": "kube-system", "name": "coredns"}' in changes[0]


@pytest.mark.parametrize(
    ("tag", "version"),
    [("v1.11.4-eksbuild.2", (1, 11, 4)), ("1.15.0", (1, 15, 0)), ("v1.9.3.10-7dfca203-aliyun", (1, 9, 3)), ("latest", None)],
)
def test_an_image_tag_is_a_version_or_none(tag: str, version: tuple[int, int, int] | None) -> None:
    assert version == version_of(tag)
