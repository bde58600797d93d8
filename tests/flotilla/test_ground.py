"""What `flotilla check` says about one cluster."""

from __future__ import annotations

import pytest

from flotilla.facts import Unknown
from flotilla.ground import NEEDED, ClusterGround, judge, version_of


def ground(version: str = "v1.37.2", missing: int = 0) -> ClusterGround:
    return ClusterGround("production", "https://127.0.0.1:1", version_of(version), NEEDED[:missing])


@pytest.mark.parametrize(
    ("text", "expected"),
    [("v1.37.2", (1, 37)), ("v1.30.4-eks-036c24b", (1, 30)), ("1.28+", (1, 28)), ("v1.37.0-alpha.1+abc", (1, 37))],
)
def test_versions_of_vendors_are_read(text, expected):
    version = version_of(text)

    assert expected == (version.major, version.minor)


def test_text_that_is_no_version_is_refused():
    with pytest.raises(ValueError, match="latest"):
        version_of("latest")


@pytest.mark.parametrize(
    ("seen", "ok", "advice"),
    [
        (ground(), True, ""),
        (ground("v1.21.9"), False, "1.22 or newer"),
        (ground("v1.38.0"), True, "newest that was tried"),
        (ground(missing=1), False, f"may not: {NEEDED[0]}"),
        (Unknown("production", "does not answer"), False, "does not answer"),
    ],
)
def test_a_cluster_is_judged(seen, ok, advice):
    finding = judge(seen)

    assert ok == finding.ok
    assert advice in finding.advice
