"""Distance between the cities, and every way to break a site by half: each told by what gets through and what does not."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import lab
from lab import dns, settings
from lab.layout import CLUSTERS, Layout
from lab.status import ClusterStatus

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]
_SEND = "import socket, sys; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'hello', (sys.argv[1], int(sys.argv[2])))"
_HEAR = (
    "import socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind((sys.argv[1], int(sys.argv[2]))); "
    "print('listening', flush=True); print(s.recv(100).decode(), flush=True)"
)
PORT = 9


@pytest.fixture(autouse=True)
def healed(own_lab: Path) -> Iterator[None]:
    """Leave the lab whole, whatever a test has done to it."""
    yield
    lab.wan(0)
    for name in CLUSTERS:
        lab.heal(name)


def site(name: str) -> ClusterStatus:
    return lab.look().cluster(name)


def layout() -> Layout:
    """Return the lab's addresses and names: cheaper than looking at all of it."""
    folder = Path(os.environ["FLOTILLA_LAB_DIR"])
    return (settings.read(folder) or pytest.fail("no lab")).layout(folder)


def address(name: str) -> str:
    return layout().cluster(name).node_address


def until(what: str, true: Callable[[], object], within: float = 60) -> None:
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
        time.sleep(0.1)


def inside(name: str, *words: str) -> list[str]:
    return ["nsenter", f"--net={layout().cluster(name).namespace_path}", "--", *words]


def reaches(where: str, port: int) -> bool:
    try:
        socket.create_connection((where, port), 1.0).close()
    except OSError:
        return False
    return True


def round_trip(name: str) -> float:
    """Return the shortest of some round trips to a site, in seconds: what others do to this machine only adds."""
    shortest = []
    for _ in range(5):
        began = time.perf_counter()
        socket.create_connection((address(name), 6443), 10).close()
        shortest.append(time.perf_counter() - began)
    return min(shortest)


def hears(listener: list[str], sender: list[str]) -> bool:
    """Tell whether a datagram arrives, of those sent until one does or many did not."""
    with subprocess.Popen(listener, stdout=subprocess.PIPE, text=True) as ear:
        assert ear.stdout is not None
        assert ear.stdout.readline().strip() == "listening"
        for _ in range(10):
            subprocess.run(sender, check=False, capture_output=True)  # the kernel tells who sends that it was dropped
            with suppress(subprocess.TimeoutExpired):
                ear.wait(0.2)
                return True
        ear.kill()
    return False


def gets_in(name: str) -> bool:
    where = (address(name), str(PORT))
    return hears(inside(name, sys.executable, "-c", _HEAR, *where), [sys.executable, "-c", _SEND, *where])


def gets_out(name: str) -> bool:
    where = (layout().bridge_address, str(PORT))
    return hears([sys.executable, "-c", _HEAR, *where], inside(name, sys.executable, "-c", _SEND, *where))


@pytest.mark.parametrize("name", CLUSTERS)
def test_each_site_answers_dns_and_keeps_its_api_to_itself(own_lab: Path, name: str) -> None:
    assert dns.replies(address(name), "version.bind")
    assert not reaches(address(name), 8081)
    key = own_lab / name / "dns" / "key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert len({(own_lab / one / "dns" / "key").read_text() for one in CLUSTERS}) == 3


def test_a_killed_dns_server_is_seen_and_up_brings_it_back(own_lab: Path) -> None:
    lab.kill("same-city", "dns")
    until("missed", lambda: "not running: dns" in site("same-city").reason)

    lab.start("same-city", "dns")

    assert site("same-city").state == "up"
    lab.kill("same-city", "dns")
    assert lab.up().is_up


def test_distance_is_at_the_remote_city_only_and_goes_again(own_lab: Path) -> None:
    lab.wan(80)
    lab.wan(80)

    assert [site(name).round_trip for name in CLUSTERS] == [0, 0, 80]
    assert round_trip("remote") >= 0.08
    assert lab.look().is_up
    assert lab.up().is_up
    assert site("remote").round_trip == 80  # it is no fault, and stays

    lab.wan(0)

    assert site("remote").round_trip == 0
    assert lab.look().is_up


def test_connections_outlive_the_change_of_the_cable(own_lab: Path) -> None:
    with socket.create_connection((address("remote"), 6443), 5) as link:
        lab.wan(20)
        lab.wan(0)
        link.settimeout(30)
        link.sendall(b"GET / HTTP/1.0\r\n\r\n")  # to a port that speaks TLS: it answers, and says so

        assert b"400" in link.recv(1000)


def test_a_cable_whose_process_died_is_laid_again_by_up(own_lab: Path) -> None:
    lab.wan(20)
    record = own_lab / "wires" / "processes" / "remote.json"
    pid = int(record.read_text().split('"pid":')[1].split(",")[0])
    os.kill(pid, signal.SIGKILL)
    until("cut off", lambda: not reaches(address("remote"), 6443))

    assert lab.up().is_up

    assert site("remote").round_trip == 20
    assert round_trip("remote") >= 0.02


def test_a_site_with_a_long_way_can_be_cut_like_any_other(own_lab: Path) -> None:
    lab.wan(20)
    lab.cut("remote")
    assert site("remote").state == "cut"
    assert not reaches(address("remote"), 6443)

    lab.heal("remote")

    until("connected", lambda: reaches(address("remote"), 6443))
    assert site("remote").round_trip == 20


def test_one_part_is_cut_and_the_others_are_not(own_lab: Path) -> None:
    where = address("production")
    lab.cut("production", "kube-apiserver")
    lab.cut("production", "kube-apiserver")
    lab.cut("production", "dns")

    assert not reaches(where, 6443)
    assert not dns.replies(where, "version.bind")
    assert reaches(where, 10250)
    seen = site("production")
    assert seen.state == "degraded"
    assert "dns is cut in and out; kube-apiserver is cut in and out" in seen.reason

    lab.heal("production", "kube-apiserver")
    assert reaches(where, 6443)
    assert not dns.replies(where, "version.bind")
    lab.heal("production")
    assert dns.replies(where, "version.bind")
    assert site("production").state == "up"


@pytest.mark.parametrize(("way", "in_", "out"), [("in", False, True), ("out", True, False)])
def test_silence_in_one_direction_leaves_the_other(own_lab: Path, way: str, in_: bool, out: bool) -> None:
    assert gets_in("remote")
    assert gets_out("remote")

    lab.cut("remote", way=way)

    assert (gets_in("remote"), gets_out("remote")) == (in_, out)
    assert f"everything is cut {way}" in site("remote").reason
    assert lab.up().is_up
    assert gets_in("remote")


def test_a_slow_site_is_slow_on_top_of_its_distance(own_lab: Path) -> None:
    lab.wan(20)
    lab.slow("remote", 100)
    assert round_trip("remote") >= 0.22
    assert "slowed by 100 ms each way" in site("remote").reason
    lab.slow("same-city", 50, way="in")
    assert site("same-city").round_trip == 50
    assert "slowed by 50 ms inward" in site("same-city").reason

    lab.heal("remote")
    lab.slow("same-city", 0)

    assert [site(name).round_trip for name in CLUSTERS] == [0, 0, 20]
    assert lab.look().is_up


def test_a_killed_site_is_dead_with_its_dns_and_comes_back(own_lab: Path) -> None:
    where = address("remote")
    lab.kill("remote")
    assert site("remote").state == "down"
    assert not dns.replies(where, "version.bind")

    lab.start("remote")

    until("up", lambda: site("remote").state == "up")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("cut", "production", "engine"), "expected one of postgres, agent, dns"),
        (("cut", "production", "--one-way", "sideways"), "expected one of in, out"),
        (("heal", "mars"), "expected one of production, same-city, remote"),
        (("slow", "mars", "5"), "expected one of production, same-city, remote"),
        (("slow", "remote", "inf"), "no delay of inf ms: expected 0 to 60000"),
        (("wan", "on", "--round-trip", "inf"), "no delay of inf ms: expected 0 to 60000"),
        (("kill", "remote", "engine"), "expected one of etcd"),
        (("load", "--ledger", "x", "--dns", "1.2.3.4:x", "--seconds", "1"), "expected ADDRESS or ADDRESS:PORT"),
    ],
)
def test_wrong_words_are_answered_with_the_right_ones(own_lab: Path, words: tuple[str, ...], said: str) -> None:
    done = subprocess.run([sys.executable, "-m", "lab", *words], capture_output=True, text=True)

    assert done.returncode == 1
    assert said in done.stderr
