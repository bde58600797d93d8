"""Whether a cluster's DNS answers names of `clusterset.local`, and what exactly has to be changed where it does not."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from flotilla.facts import Unknown
from flotilla.services.corefile import ZONE, difference, read_corefile

OLDEST = (1, 12, 2)  # the first CoreDNS whose kubernetes plugin knows `multicluster`; Cilium's MCS-API page names it too


@dataclass(frozen=True)
class DnsGround:
    """What was found of a cluster's CoreDNS. ``context`` is the cluster's in the kubeconfig, for what is to be run.

    ``deployment`` and ``config_map`` name the objects in ``namespace``, ``key`` is the Corefile's in the latter.
    ``version`` is the image's tag. ``reads_imports`` tells whether ``account`` may list and watch ServiceImports.
    ``kept_by`` names who would take a change of the ConfigMap back, "" where nobody is known to.
    """

    context: str
    namespace: str
    deployment: str
    config_map: str
    corefile: str
    version: str
    account: str
    reads_imports: bool | Unknown
    key: str = "Corefile"
    kept_by: str = ""


_RBAC = "rbac.authorization.k8s.io/v1"
Told = tuple[str, str, str, str]
"""State, cell, sentence, change: what `flotilla.services.ground` makes an Item of."""


def judge_dns(dns: DnsGround | Unknown, *, defined: bool) -> Iterator[Told]:
    """Yield what to tell about one cluster's DNS; exactly one line where all is well.

    ``defined`` tells whether ServiceImport is installed.
    """
    if isinstance(dns, Unknown):
        yield "unknown", "unknown", f"whether DNS serves {ZONE}: {dns.reason}", ""
        return
    answer = read_corefile(dns.corefile)
    name = f"CoreDNS {dns.version}"
    if answer.served_by and answer.served_by != "kubernetes":
        yield (
            "note",
            f"{name}: {answer.served_by}",
            f"{ZONE} is answered by CoreDNS' plugin {answer.served_by}, not by Flotilla",
            "",
        )
        return
    troubles = list(_troubles(dns))
    yield from troubles
    if not answer.served_by:
        text = f"{name} does not serve {ZONE}: {answer.reason}"
        possible = answer.wanted is not None and not _too_old(dns)
        change = dns_change(dns, answer.wanted or "", reloads=answer.reloads) if possible else ""
        if change and not defined:
            change = "# after flotilla check --install-crds: without ServiceImport, CoreDNS would never be ready\n" + change
        if dns.kept_by:
            text += f"; {dns.kept_by} keeps ConfigMap {dns.namespace}/{dns.config_map} as it is: make the change its way"
        yield "problem", f"{name}: no", text, change
    elif not troubles:
        yield "fine", name, "", ""


def dns_change(dns: DnsGround, corefile: str, *, reloads: bool) -> str:
    """Return what makes a CoreDNS serve the zone: the difference as comments, and the commands that make it.

    The right to read ServiceImports comes first: without it a CoreDNS that has the zone is never ready.
    """
    patch = json.dumps({"data": {dns.key: corefile}})
    shown = "".join(f"# {line}\n" for line in difference(dns.corefile, corefile, dns.key).splitlines())
    kubectl = ["kubectl", "--context", dns.context, "--namespace", dns.namespace]
    commands = [[*kubectl, "patch", "configmap", dns.config_map, "--type", "merge", "--patch", patch]]
    if not reloads:
        commands.append([*kubectl, "rollout", "restart", f"deployment/{dns.deployment}"])
    shown += "# CoreDNS takes it up by itself, a minute or two later\n" if reloads else ""
    return shown + _rights_change(dns) + "".join(shlex.join(command) + "\n" for command in commands)


def version_of(tag: str) -> tuple[int, int, int] | None:
    """Return the version in an image's tag ("v1.11.4-eksbuild.2", "1.15.0"), None where it has none."""
    match = re.match(r"v?(\d+)\.(\d+)\.(\d+)", tag)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def _troubles(dns: DnsGround) -> Iterator[Told]:
    """Yield what keeps a CoreDNS from serving the zone, whatever its Corefile says."""
    name = f"CoreDNS {dns.version}"
    if version_of(dns.version) is None:
        text = f"the image's tag {dns.version!r} is no version; expected {_text(OLDEST)} or newer"
        yield "unknown", f"{name}: unknown", text, ""
    elif _too_old(dns):
        text = f"{name} knows no `multicluster`, and ends at a Corefile that has it: upgrade to {_text(OLDEST)} or newer first"
        yield "problem", f"{name}: too old", text, ""
    if isinstance(dns.reads_imports, Unknown):
        text = f"whether {dns.account} may list and watch serviceimports: {dns.reads_imports.reason}"
        yield "unknown", f"{name}: unknown", text, ""
    elif not dns.reads_imports:
        text = f"{dns.account} may not list and watch serviceimports: with the zone, CoreDNS would never be ready"
        change = "" if read_corefile(dns.corefile).wanted else _rights_change(dns)  # else it stands with the zone's
        yield "problem", f"{name}: no right", text, change


def _too_old(dns: DnsGround) -> bool:
    version = version_of(dns.version)
    return version is not None and version < OLDEST


def _rights_change(dns: DnsGround) -> str:
    """Return the command that gives CoreDNS the right, beside its own role, which others may keep as it is."""
    if dns.reads_imports is True:
        return ""
    namespace, _, name = dns.account.partition("/")
    metadata = {"name": "coredns-serviceimports"}
    rule = {"apiGroups": ["multicluster.x-k8s.io"], "resources": ["serviceimports"], "verbs": ["list", "watch"]}
    role = {"apiVersion": _RBAC, "kind": "ClusterRole", "metadata": metadata, "rules": [rule]}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", **metadata}
    subject = {"kind": "ServiceAccount", "namespace": namespace, "name": name}
    binding = {"apiVersion": _RBAC, "kind": "ClusterRoleBinding", "metadata": metadata, "roleRef": reference}
    objects = "\n".join(json.dumps(one) for one in (role, {**binding, "subjects": [subject]}))
    return f"{shlex.join(['kubectl', '--context', dns.context])} apply -f - <<'END'\n{objects}\nEND\n"


def _text(version: tuple[int, int, int]) -> str:
    return ".".join(map(str, version))
