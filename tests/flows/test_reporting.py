"""The report, of a day that a real store holds: what is known is told with its clusters, what is not is unknown."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
import typer
from typer.testing import CliRunner, Result

from flotilla.daily.asked import period_of
from flotilla.daily.picture import picture
from flotilla.daily.report import Report
from flotilla.daily.text import markdown
from flotilla.errors import InvalidInput
from flotilla.fleet import parse_fleet
from flows.cli_metrics import register
from flows.reporting import fleet_report
from lab import binaries
from tasks.store import Written, store_of
from tests.bench.programs import Program
from tests.conftest import ROOT
from tests.flows.daytime import Day

FLEET = (ROOT / "deployments" / "fleet.yaml").read_text()


def fleet_text(url: str) -> str:
    return FLEET.replace("{urlEnv: FLOTILLA_STORE}", f'{{url: "{url}"}}\n  beat: 60\n  settle: 30')


@pytest.fixture(scope="module")
def day() -> Day:
    return Day(int(time.time()) // 60 * 60)


@pytest.fixture(scope="module")
def store(day: Day, tmp_path_factory) -> Iterator[str]:
    one = Program("victoria", tmp_path_factory.mktemp("report"))
    flags = [f"-storageDataPath={one.folder / 'data'}", f"-httpListenAddr=127.0.0.1:{one.port}", "-memory.allowedBytes=64MiB"]
    one.start([binaries.ensure(lambda _: None)["victoria-metrics"], *flags], "/health")
    store_of(parse_fleet(fleet_text(one.url), "").metrics.store).write(list(day.series()), Written())
    one.text("/internal/force_flush")
    yield one.url
    one.end()


@pytest.fixture(scope="module")
def report(store: str) -> Report:
    return fleet_report(parse_fleet(fleet_text(store), ""), period_of("", 1, time.time()))


def test_what_matters_comes_first(report):
    assert (
        "remote: silent, 3 h behind: what runs there is unknown",
        "Whether same-city and remote would hold production cannot be said: remote: silent, 3 h behind",
        "Whether production and same-city would hold remote cannot be said: remote: silent, 3 h behind",
        "1 of 3 applications (shop/checkout) lack replicas",
        "1 of 3 applications (shop/podinfo) do not run the same images everywhere",
        "2 of 3 applications (shop/podinfo and shop/legacy) changed",
        "production: the store refused samples of 3 series: `flotilla quarantine list`",
        "same-city: 1 min 30 s of its samples are lost for good",
        "remote: 3 h of its samples are still to be read",
    ) == report.findings()


def test_a_silent_cluster_is_unknown_wherever_it_would_stand(report):
    rows = {row["application"]: row for row in (one.row() for one in report.deployed[1])}

    assert {"unknown"} == {row["remote"] for row in rows.values()}
    assert ("-", "1/2") == (rows["shop/checkout"]["production"], rows["shop/checkout"]["same-city"])
    assert "gone" == rows["shop/legacy"]["production"]
    assert "**skew**: production podinfo:6.9.2; same-city podinfo:6.9.1" == rows["shop/podinfo"]["images"]
    assert "production: podinfo:6.9.1 → podinfo:6.9.2" == rows["shop/podinfo"]["changed"]


def test_a_silent_cluster_has_not_moved_to_nothing(report):
    cpu, memory = report.moves

    assert (("production", "same-city"), ["remote"]) == (cpu.seen.covers, list(cpu.seen.unknown))
    assert {"production", "same-city"} == {one.cluster for one in cpu.moves}
    assert () == memory.moves


def test_the_text_says_of_each_part_what_it_covers(report):
    text = markdown(report)

    covers = [line for line in text.splitlines() if "Covers " in line]
    assert 5 == len(covers)
    assert all("Covers production and same-city. Unknown: remote (silent, 3 h behind)." in line for line in covers[:4])
    assert "As the collector tells. Covers production, same-city and remote." == covers[4]
    assert "| same-city | memory |" in text


def test_the_picture_is_drawn_and_ends_lines_where_nothing_is_known(report, day):
    root = ElementTree.fromstring(picture(report))
    texts = [one.text or "" for one in root.iter("{http://www.w3.org/2000/svg}text")]
    ends = {
        one.get("stroke"): float((one.get("points") or "").split()[-1].split(",")[0])
        for one in root.iter("{http://www.w3.org/2000/svg}polyline")
        if len((one.get("points") or "").split()) > 2
    }

    assert "remote: unknown now" in texts
    assert "production falls: unknown (remote: silent, 3 h behind)" in texts
    assert [False, False, True] == [x < 850 for x in ends.values()]


def flotilla(*arguments: str) -> Result:
    app = typer.Typer()
    register(app)
    app.callback()(lambda: None)
    return CliRunner().invoke(app, ["report", *arguments])


def test_the_command_line_prints_or_writes_it(store, tmp_path):
    (tmp_path / "fleet.yaml").write_text(fleet_text(store))
    fleet, text, drawn = (str(tmp_path / name) for name in ("fleet.yaml", "report.md", "report.svg"))

    printed, written = flotilla("--fleet", fleet), flotilla("--fleet", fleet, "--output", text, "--picture", drawn)

    assert (0, 0, "") == (printed.exit_code, written.exit_code, written.stdout)
    assert printed.stdout.startswith("# Fleet report, ")
    assert Path(text).read_text().startswith("# Fleet report, ")
    assert Path(drawn).read_text().startswith("<svg ")


def test_a_store_that_is_away_makes_everything_unknown_and_the_code_says_so(tmp_path):
    (tmp_path / "fleet.yaml").write_text(fleet_text("http://127.0.0.1:9"))

    done = flotilla("--fleet", str(tmp_path / "fleet.yaml"))

    assert 1 == done.exit_code
    assert 5 == done.stdout.count("Covers no cluster. Unknown: production (store: http://127.0.0.1:9 does not answer")
    assert (
        "production: store: http://127.0.0.1:9 does not answer: Connection refused: what runs there is unknown" in done.stdout
    )


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--at", "soon"], "report: at: 'soon'; allowed: a time such as"),
        (["--at", "2999-01-01"], "report: at: '2999-01-01'; allowed: a time that is over"),
        (["--days", "90"], "report: days: 90.0; allowed: a number from 0.01 to 31"),
        (["--picture", "a.png"], "command line: --picture: 'a.png'; allowed: a name that ends in .svg"),
    ],
)
def test_what_cannot_be_reported_is_told(given, told, monkeypatch):
    monkeypatch.chdir(ROOT)
    error = flotilla(*given).exception

    assert isinstance(error, InvalidInput)
    assert told in str(error)
