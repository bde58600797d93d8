"""What stores refused is sent again, to real ones: taken, or refused again and kept, whoever else changes the quarantine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import httpx
import pytest
import typer
from typer.testing import CliRunner, Result

from flotilla.errors import InvalidInput, Transient
from flotilla.fleet import Fleet, parse_fleet
from flotilla.metrics.quarantine import Quarantined, Refusal, quarantined
from flotilla.metrics.resending import Pick, samples_of
from flotilla.metrics.windows import Unreadable
from flows.cli_quarantine import register
from flows.collector import Collector
from flows.resending import send_again
from lab import binaries
from tasks.doors import now
from tasks.progress import QuarantineFile
from tests.bench.programs import Program
from tests.conftest import ROOT
from tests.flotilla.prompb import series

FLEET = (ROOT / "deployments" / "fleet.yaml").read_text()
HOUR = 3_600_000
BASE = now() - 8 * HOUR


def record(cluster: str, number: int, *times: int) -> Quarantined:
    labels = {"__name__": "m", "cluster": cluster, "number": str(number)}
    one = series(labels, *((1.0, time) for time in times)).SerializeToString()
    return quarantined(cluster, [Refusal(one, 400, "out of bounds")], BASE)[0]


@pytest.fixture(scope="module")
def programs() -> binaries.Binaries:
    return binaries.ensure(lambda _: None)


@pytest.fixture(scope="module")
def victoria(programs, tmp_path_factory) -> Iterator[Program]:
    one = Program("victoria", tmp_path_factory.mktemp("victoria"))
    flags = [f"-storageDataPath={one.folder / 'data'}", f"-httpListenAddr=127.0.0.1:{one.port}", "-memory.allowedBytes=64MiB"]
    one.start([programs["victoria-metrics"], *flags], "/health")
    yield one
    one.end()


@pytest.fixture
def prometheus(programs, tmp_path) -> Iterator[Program]:
    """It refuses what is more than an hour older than the newest that it has."""
    one = Program("prometheus", tmp_path)
    (one.folder / "config.yaml").write_text("global: {}\n")
    flags = [f"--config.file={one.folder / 'config.yaml'}", f"--storage.tsdb.path={one.folder / 'data'}"]
    flags += [f"--web.listen-address=127.0.0.1:{one.port}", "--web.enable-remote-write-receiver"]
    one.start([programs["prometheus"], *flags], "/-/ready")
    yield one
    one.end()


def fleet_at(url: str, kind: str = "victoria-metrics") -> Fleet:
    return parse_fleet(FLEET.replace("{urlEnv: FLOTILLA_STORE}", f'{{url: "{url}", kind: {kind}}}'), "fleet.yaml")


def held_in(folder: Path, *records: Quarantined) -> QuarantineFile:
    file = QuarantineFile(folder)
    file.add(records)
    return file


def test_what_is_picked_is_taken_and_the_rest_stays(victoria, tmp_path):
    held = held_in(tmp_path, record("remote", 1, BASE, BASE + 1000), record("remote", 2, BASE), record("production", 3, BASE))

    done = send_again(fleet_at(victoria.url), held, Pick("remote"))

    assert [("remote", 2, 3, 3, 0)] == [(one.cluster, one.series, one.samples, one.taken, one.refused) for one in done]
    assert [("production", 1)] == [(one.cluster, len(one.samples)) for one in held.records()]
    victoria.text("/internal/force_flush")
    given = {"match[]": 'm{cluster="remote"}', "start": "0"}
    exported = httpx.get(victoria.url + "/api/v1/export", params=given, trust_env=False).text
    assert [[BASE], [BASE, BASE + 1000]] == sorted((json.loads(line)["timestamps"] for line in exported.splitlines()), key=len)


def test_what_a_prometheus_refuses_again_is_kept_with_its_reason(prometheus, tmp_path):
    newest = now()
    held = held_in(tmp_path, record("remote", 1, newest), record("remote", 2, newest - 5 * HOUR, newest - 1000))
    fleet = fleet_at(prometheus.url, "prometheus")

    (first,) = send_again(fleet, held, Pick())
    (second,) = send_again(fleet, held, Pick())

    assert (3, 2, 1) == (first.samples, first.taken, first.refused)
    assert (1, 0, 1) == (second.samples, second.taken, second.refused)
    (kept,) = held.records()
    assert [newest - 5 * HOUR] == kept.times()
    assert (400, True) == (kept.status, "out of bounds" in kept.why)


def test_a_store_that_is_away_takes_nothing_and_nothing_is_lost(tmp_path):
    held = held_in(tmp_path, record("remote", 1, BASE))

    with pytest.raises(Transient, match="of remote 0 of 1 samples were taken before, the rest is kept"):
        send_again(fleet_at("http://127.0.0.1:9"), held, Pick())

    assert [record("remote", 1, BASE)] == list(held.records())


def _refused(folder: str, numbers: range) -> None:
    """Be a collector to which the store refuses a sample at a time."""
    file = QuarantineFile(Path(folder))
    for number in numbers:
        file.add([record("remote", number, BASE + number)])


def test_a_collector_and_two_senders_at_once_lose_nothing_and_bring_nothing_back(victoria, tmp_path):
    fleet, every = fleet_at(victoria.url), 60
    held = held_in(tmp_path, record("production", 0, BASE))
    with ProcessPoolExecutor(2) as others:
        refusing = [others.submit(_refused, str(tmp_path), range(begin, every, 2)) for begin in (0, 1)]
        taken = 0
        while not all(one.done() for one in refusing):
            taken += sum(one.taken for one in send_again(fleet, QuarantineFile(tmp_path), Pick("remote")))
        for one in refusing:
            one.result()
    taken += sum(one.taken for one in send_again(fleet, held, Pick("remote")))

    assert every == taken
    assert [record("production", 0, BASE)] == list(held.records())


def test_the_collector_sees_what_was_sent_and_does_not_bring_it_back(victoria, tmp_path):
    held_in(tmp_path, record("remote", 1, BASE))
    collector = Collector(fleet_at(victoria.url).model_copy(update={"clusters": ()}), tmp_path)
    assert 1 == len(collector.quarantine)

    QuarantineFile(tmp_path).settle(samples_of("remote", [record("remote", 1, BASE).series]), [])
    collector.cycle()

    assert () == tuple(collector.quarantine)


def test_a_damaged_quarantine_is_told_and_never_overwritten(tmp_path):
    held = held_in(tmp_path, record("remote", 1, BASE))
    file = tmp_path / "quarantine.json"
    for text in ("{", "[]", '{"records": [{}]}'):
        file.write_text(text)
        with pytest.raises(Unreadable):
            held.add([record("remote", 2, BASE)])
        assert text == file.read_text()


def flotilla(*arguments: str) -> Result:
    app = typer.Typer()
    register(app)
    app.callback()(lambda: None)
    return CliRunner().invoke(app, ["quarantine", *arguments])


def test_the_command_line_lists_tries_and_sends(victoria, tmp_path):
    (tmp_path / "fleet.yaml").write_text(FLEET.replace("urlEnv: FLOTILLA_STORE", f'url: "{victoria.url}"'))
    state = ["--state", str(tmp_path)]
    held = held_in(tmp_path, record("remote", 1, BASE), record("production", 2, BASE))
    send = ["send", *state, "--fleet", str(tmp_path / "fleet.yaml"), "--match", 'm{number="1"}']

    listed, tried = flotilla("list", *state, "--json"), flotilla(*send, "--dry-run")
    still, sent = len(held.records()), flotilla(*send)

    assert {"remote", "production"} == {one["cluster"] for one in json.loads(listed.stdout)}
    assert ((0, 2), (0, 1)) == ((tried.exit_code, still), (sent.exit_code, len(held.records())))
    assert isinstance(flotilla(*send, "--cluster", "moon").exception, InvalidInput)
    assert isinstance(flotilla("list", "--state", str(tmp_path / "none")).exception, InvalidInput)
