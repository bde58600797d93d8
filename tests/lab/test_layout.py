"""What a lab derives from its folder and slot: pure, no root, no cluster."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network
from itertools import combinations
from pathlib import Path

import pytest

from lab import api, binaries, controlplane, dns, images, mounts, network, nodes, slots, status, system
from lab.binaries import BINARIES, Binaries
from lab.errors import CommandFailed, LabError
from lab.layout import CLUSTERS, NODE, SLOTS, Layout, overlapping, path_complaint, preferred_slot, public_ports
from lab.processes import Life

LAB = Path("/lab")
ALL = [Layout(LAB, slot) for slot in range(SLOTS)]


def ranges(layout: Layout) -> list[IPv4Network]:
    bridge = IPv4Network(f"{layout.bridge_address}/{layout.bridge_prefix}", strict=False)
    return [bridge, *(range_ for cluster in layout.clusters for range_ in (cluster.pod_range, cluster.service_range))]


@pytest.mark.parametrize("layout", ALL, ids=lambda layout: str(layout.slot))
def test_ranges_of_a_lab_are_disjoint_and_inside_its_network(layout: Layout) -> None:
    assert not [pair for pair in combinations(ranges(layout), 2) if pair[0].overlaps(pair[1])]
    assert all(range_.subnet_of(layout.network) for range_ in ranges(layout))


def test_no_two_slots_share_a_network_port_or_name() -> None:
    for one, other in combinations(ALL, 2):
        assert not one.network.overlaps(other.network)
        assert not set(public_ports(one.slot)) & set(public_ports(other.slot))
    names = [cluster.namespace for layout in ALL for cluster in layout.clusters] + [layout.bridge for layout in ALL]
    assert len(set(names)) == len(names)


def test_interface_names_fit_the_kernel() -> None:
    names = [layout.bridge for layout in ALL] + [cluster.uplink for layout in ALL for cluster in layout.clusters]
    assert max(map(len, names)) <= 15


def test_control_planes_that_share_the_host_share_no_port() -> None:
    layout = Layout(LAB, 7, real_nodes=False)
    ports = [port for cluster in layout.clusters for port in vars(cluster.ports).values()]
    assert len(set(ports)) == len(ports)
    assert set(ports) <= set(public_ports(7))


def test_a_folder_prefers_the_same_slot_always_and_others_prefer_others() -> None:
    slots_ = [preferred_slot(Path(f"/checkout{number}/.lab")) for number in range(200)]
    assert slots_ == [preferred_slot(Path(f"/checkout{number}/.lab")) for number in range(200)]
    assert set(slots_) <= set(range(SLOTS))
    assert len(set(slots_)) > SLOTS / 2


def test_a_route_that_overlaps_is_found_and_the_default_route_is_not_one() -> None:
    net = Layout(LAB, 0).network
    default, office = IPv4Network("0.0.0.0/0"), IPv4Network("10.0.0.0/8")
    assert overlapping(net, [default]) is None
    assert overlapping(net, [default, IPv4Network("10.1.0.0/16")]) is None
    assert overlapping(net, [default, office]) == office


def test_a_path_too_long_for_sockets_is_refused_by_length() -> None:
    assert path_complaint(Path("/home/me/flotilla/.lab")) == ""
    assert "FLOTILLA_LAB_DIR" in path_complaint(Path("/" + "long/" * 20))


def test_a_slot_goes_to_one_lab_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "registry", lambda: tmp_path / "register")
    folder, rival = tmp_path / "mine", tmp_path / "rival"
    mine = slots.claim(folder, lambda slot: "")
    monkeypatch.setattr(slots, "preferred_slot", lambda directory: mine)
    theirs = slots.claim(rival, lambda slot: "")
    assert (slots.find(folder), slots.find(rival)) == (mine, theirs)
    assert mine != theirs
    with pytest.raises(LabError, match="has gone to"):
        slots.reclaim(rival, mine)
    ended: list[bool] = []
    slots.release(rival, lambda: ended.append(True))
    assert not ended
    slots.release(folder, lambda: ended.append(True))
    assert ended
    assert not (tmp_path / "register").exists()


def test_a_slot_that_something_speaks_against_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "registry", lambda: tmp_path / "register")
    first = preferred_slot(tmp_path)
    assert slots.claim(tmp_path, lambda slot: "a route" if slot == first else "") == (first + 1) % SLOTS
    with pytest.raises(LabError, match="a route"):
        slots.claim(tmp_path / "other", lambda slot: "a route")


def some_binaries() -> Binaries:
    return Binaries({binary.name: Path("/bin") / binary.name for binary in BINARIES})


def test_the_control_plane_listens_to_its_site_or_to_loopback_only() -> None:
    for real in (True, False):
        cluster = Layout(LAB, 3, real_nodes=real).clusters[1]
        options = controlplane.configuration(cluster, some_binaries())["options"]
        assert options["bindAddress"] == ("0.0.0.0" if real else "127.0.0.1")
        assert str(cluster.service_range[1]) in options["kubeApiserverCertSANs"]


def test_only_what_kwokctl_sets_is_overridden() -> None:
    patches = controlplane.configuration(Layout(LAB, 3).clusters[0], some_binaries())["componentsPatches"]
    overridden = {arg["key"] for patch in patches for arg in patch["extraArgs"] if arg["override"]}
    added = {arg["key"] for patch in patches for arg in patch["extraArgs"] if not arg["override"]}
    assert "listen-client-urls" in overridden
    assert {"service-cluster-ip-range", "leader-elect", "requestheader-client-ca-file"} <= added


def test_a_node_keeps_everything_in_the_labs_folder() -> None:
    for cluster in Layout(LAB, 3).clusters:
        toml = nodes.containerd(cluster, "overlayfs", "/usr/lib/cni")
        assert f'address = "/lab/{cluster.name}/containerd.sock"' in toml
        assert "$" not in toml
        config = nodes.kubelet(cluster)
        assert config["podLogsDir"].startswith(f"/lab/{cluster.name}/")
        assert config["clusterDNS"] == [cluster.dns_address]
        assert config["authentication"]["anonymous"] == {"enabled": False}


def test_mounts_are_read_with_their_escapes() -> None:
    line = r"36 35 98:0 / /mnt/a\040b rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue"
    assert mounts.parse(line) == [mounts.Mount(Path("/mnt/a b"), "ext3")]


RUNNING = dict.fromkeys(("etcd", "kube-apiserver", *NODE), Life.RUNNING)


@pytest.mark.parametrize(
    ("parts", "cut", "complaints", "expected"),
    [
        (RUNNING, False, [], ("up", "")),
        (RUNNING, True, [], ("cut", "its network is cut")),
        (dict.fromkeys(RUNNING, Life.DEAD), True, [], ("down", "none of its processes runs")),
        (RUNNING | {"kubelet": Life.DEAD}, False, [], ("degraded", "not running: kubelet")),
        (RUNNING | {"kube-apiserver": Life.STOPPED}, False, [], ("cut", "its API server is stopped")),
        (RUNNING, False, ["no answer"], ("degraded", "no answer")),
    ],
)
def test_a_cluster_is_judged(parts: dict[str, Life], cut: bool, complaints: list[str], expected: tuple[str, str]) -> None:
    assert status.verdict(parts, cut=cut, complaints=complaints) == expected


def node(ready: str, heard: datetime) -> dict[str, object]:
    condition = {"type": "Ready", "status": ready, "message": "why", "lastHeartbeatTime": heard.isoformat()}
    return {"status": {"conditions": [condition]}}


def test_a_node_counts_as_ready_only_by_a_fresh_word() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    old = now - timedelta(minutes=2)
    lease = {"spec": {"renewTime": now.isoformat()}}
    assert api.judge_node("n", [node("True", now)], [], now) == ""
    assert api.judge_node("n", [node("True", old)], [lease], now) == ""
    assert "not reported" in api.judge_node("n", [node("True", old)], [], now)
    assert "not Ready: why" in api.judge_node("n", [node("False", now)], [], now)
    assert "not registered" in api.judge_node("n", [], [], now)


def test_only_the_failing_checks_of_readyz_are_quoted() -> None:
    assert api.failing("[+]ping ok\n[-]etcd failed: reason withheld\n[+]log ok") == "[-]etcd failed: reason withheld"


def test_dns_answers_are_told_from_errors_and_strangers() -> None:
    asked = dns.question(7, "a.b")
    assert asked == b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x01b\x00\x00\x01\x00\x01"
    reply = bytearray(b"\x00\x07\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00")
    assert dns.is_answer(bytes(reply), 7)
    assert not dns.is_answer(bytes(reply), 8)
    assert not dns.is_answer(bytes(reply[:3]) + b"\x83" + bytes(reply[4:]), 7)  # NXDOMAIN
    assert not dns.is_answer(b"", 7)


def test_an_image_holds_the_program_and_its_name(tmp_path: Path) -> None:
    program = tmp_path / "tool"
    program.write_bytes(b"\x7fELF...")
    archive = images.archive(images.Image("localhost/tool:1", {"tool": program}, ("/tool",)), tmp_path)
    assert images.is_archive(archive)
    assert images.names_in(archive) == ["localhost/tool:1"]
    assert archive == images.archive(images.Image("localhost/tool:1", {"tool": program}, ("/tool",)), tmp_path)
    assert not images.is_archive(program)


def test_what_cannot_run_in_an_empty_image_is_refused(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    with pytest.raises(LabError, match="neither an image archive nor a static"):
        images.around_program(script, "localhost/script:1")


def test_progress_tells_what_is_done_and_how_long_the_rest_takes() -> None:
    missing = list(BINARIES[:4])
    assert binaries.progress(missing, 0, 0).startswith("building kube-apiserver (0 of 4 done, about 6 min left")
    slow = binaries.progress(missing, 1, 2 * BINARIES[0].seconds)
    assert "1 of 4 done, about 4 min left" in slow


def test_every_module_is_pinned() -> None:
    for module in {binary.module for binary in BINARIES} - {"pause"}:
        assert (binaries.MODULES / module / "go.sum").stat().st_size > 0, module


def test_missing_packages_are_named_for_each_installer() -> None:
    assert system.advice(["conntrack", "ctr"], "dnf") == "Get them with: dnf install -y conntrack-tools containerd"
    assert system.advice(["ctr"], "apk") == "Get them with: apk add containerd-ctr"
    assert system.advice(["ip"], "") == "Install what Debian calls iproute2"


def test_a_failed_command_ends_with_what_it_said() -> None:
    error = CommandFailed(["ip", "link"], "ended with 1", "x" * 5000 + " no such device")
    assert str(error).startswith("`ip link` ended with 1: ")
    assert str(error).endswith("no such device")
    assert len(str(error)) < 2100


def test_pod_ranges_are_reached_and_api_ports_are_loopback_only() -> None:
    layout = Layout(LAB, 5)
    rules = list(network.rules(layout))
    ports = [rule[rule.index("--dport") + 1] for _, _, rule in rules if "--dport" in rule]
    assert ports == [str(cluster.public_port) for cluster in layout.clusters]
    assert all(rule[rule.index("-d") + 1] == "127.0.0.1/32" for _, _, rule in rules if "-d" in rule)
    assert [cluster.name for cluster in layout.clusters] == list(CLUSTERS)


def test_the_kernels_limit_is_raised_once_and_restored_unless_others_changed_it(tmp_path, monkeypatch) -> None:
    limit, before = tmp_path / "limit", tmp_path / "before"
    monkeypatch.setattr(system, "_INSTANCES", limit)
    limit.write_text("128\n")
    told: list[str] = []

    system.allow_instances(before, told.append)
    raised = int(limit.read_text())
    system.allow_instances(before, told.append)
    system.restore_instances(before)
    restored = int(limit.read_text())
    system.allow_instances(before, told.append)
    limit.write_text("4096")
    system.restore_instances(before)

    assert (1024, 128, 4096, False) == (raised, restored, int(limit.read_text()), before.exists())
    assert 2 == len(told)
