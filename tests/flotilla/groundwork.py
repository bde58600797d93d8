"""What tests of the ground for services share: our definitions, and the DNS of a cluster as it should be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from flotilla.services.definitions import NAMES, parse_definition
from flotilla.services.dnsground import DnsGround

ROOT = Path(__file__).parent.parent.parent
BODIES = {
    body["metadata"]["name"]: body
    for body in map(yaml.safe_load, (f.read_text() for f in (ROOT / "deployments/crds").glob("*.yaml")))
}
OURS = {name: parse_definition(BODIES[name]) for name in NAMES}

COREFILE = """\
.:53 {
    errors
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure # as ever
        fallthrough in-addr.arpa ip6.arpa
    }
    reload
}
"""
SERVING = """\
.:53 {
    errors
    kubernetes cluster.local clusterset.local in-addr.arpa ip6.arpa {
        multicluster clusterset.local
        pods insecure # as ever
        fallthrough in-addr.arpa ip6.arpa
    }
    reload
}
"""


def dns(**changes: Any) -> DnsGround:
    fields = {"corefile": SERVING, "version": "v1.12.2", "account": "kube-system/coredns", "reads_imports": True}
    return DnsGround(
        **{"context": "c1", "namespace": "kube-system", "deployment": "coredns", "config_map": "coredns", **fields, **changes}
    )
