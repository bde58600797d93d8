"""What of the recovery lab is derived and decided without a lab: pure."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from lab import cables, debian, faults, images, orders
from lab.cables import Delay
from lab.errors import LabError
from lab.images import Image
from lab.layout import PORTS, Layout

LAYOUT = Layout(Path("/lab"), 7)


def test_distance_stands_at_the_site_in_a_city_of_its_own() -> None:
    assert [cables.distance(LAYOUT, one, 25.0) for one in LAYOUT.clusters] == [Delay(), Delay(), Delay(12.5, 12.5)]
    assert not Delay()
    assert Delay(0, 1)
    assert Delay(1, 2) + Delay(3, 4) == Delay(4, 6)


@pytest.mark.parametrize(
    ("delay", "shown"),
    [(Delay(5, 5), "5 ms each way"), (Delay(5, 0), "5 ms inward"), (Delay(1, 2.5), "1 ms inward, 2.5 ms outward")],
)
def test_a_delay_is_shown_by_direction(delay: Delay, shown: str) -> None:
    assert cables.shown(delay) == shown


@pytest.mark.parametrize("part", PORTS)
def test_a_part_is_cut_by_the_port_that_it_is_reached_at_and_told_by_its_mark(part: str) -> None:
    rules = list(faults._rules(part, None))

    assert {faults._marks(rule) for rule in rules} == {(part, "in"), (part, "out")}
    assert {rule[rule.index("--ctorigdstport") + 1] for rule in rules} == {str(port) for _, port in PORTS[part]}


def test_a_whole_site_is_cut_one_way_without_a_port() -> None:
    assert list(faults._rules(None, "in")) == [
        ("PREROUTING", "-i", "eth0", "-m", "comment", "--comment", "flotilla-cut//in", "-j", "DROP")
    ]


def test_what_cannot_be_cut_is_refused_with_what_can() -> None:
    with pytest.raises(LabError, match="expected one of postgres, agent, dns"):
        faults.check_part("engine")
    with pytest.raises(LabError, match="expected one of in, out"):
        faults.check_way("sideways")


def test_of_a_lock_file_only_the_asked_for_packages_are_kept_with_their_hashes() -> None:
    wanted = "psycopg==3 \\\n    --hash=sha256:b \\\n    --hash=sha256:c\n"
    text = f"anyio==4 \\\n    --hash=sha256:a\n{wanted}psycopg-pool==1 \\\n    --hash=sha256:d\n"

    assert orders.locked(text, {"psycopg"}) == wanted


def test_a_link_stays_a_link_in_an_image(tmp_path: Path) -> None:
    (tmp_path / "lib.so.1.2").write_text("code")
    (tmp_path / "lib.so").symlink_to("lib.so.1.2")
    (tmp_path / "layer.tar").write_bytes(images._layer(Image("x:1", {"lib": tmp_path}, ("/x",))))

    with tarfile.open(tmp_path / "layer.tar") as layer:
        found = {member.name: member.linkname for member in layer.getmembers()}

    assert found["lib/lib.so"] == "lib.so.1.2"
    assert found["lib/lib.so.1.2"] == ""


def test_a_program_of_a_tree_runs_by_the_trees_own_loader(tmp_path: Path) -> None:
    (tmp_path / "lib64").mkdir()
    (tmp_path / "lib64" / "ld-linux-x86-64.so.2").touch()

    loader, option, libraries, program = debian.command(tmp_path, "usr/bin/x")

    assert (loader, option, program) == (
        str(tmp_path / "lib64/ld-linux-x86-64.so.2"),
        "--library-path",
        str(tmp_path / "usr/bin/x"),
    )
    assert all(one.startswith(str(tmp_path)) for one in libraries.split(":"))


def test_a_tree_without_a_loader_is_told(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="has no dynamic loader"):
        debian.command(tmp_path, "usr/bin/x")
