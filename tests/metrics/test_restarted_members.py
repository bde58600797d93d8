"""A member that scrapes, and is ended and started again, with its data or without."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from flotilla.metrics.spans import Span
from tasks.doors import now
from tests.metrics import programs
from tests.metrics.exporter import Exporter, exporter
from tests.metrics.ground import BEGIN, END, KINDS, Ground, usual
from tests.metrics.programs import Program, until

pytestmark = pytest.mark.programs

SETTLE = 3000  # ms that a scrape may take on a busy machine


@pytest.fixture
def scraped(ground: Ground) -> Iterator[Exporter]:
    """Yield an exporter with a counter, and a pod that is another one at each scrape."""

    def text(before: int) -> str:
        case = f'case="{ground.case}"'
        return f'scrapes_total{{{case}}} {before}\npod_up{{{case},pod="pod-{before}"}} 1\nempty{{{case},name=""}} 0\n'

    with exporter(text) as made:
        yield made


@pytest.fixture
def north(ground: Ground, scraped: Exporter, tmp_path) -> Iterator[Program]:
    """Yield a member that scrapes the exporter, itself and another one each second; with west it is the fleet."""
    other = ground.members["east"]  # as the other one of a pair does, it holds samples that are older
    ground.fill("east", usual(1))
    program = programs.prometheus(tmp_path / "north", programs.OUT_OF_ORDER)
    own = f"127.0.0.1:{program.port}"
    targets = {"exporter": scraped.address, "prometheus": own, "other": other.removeprefix("http://")}
    config = {
        "global": {"scrape_interval": "1s", "external_labels": {"cluster": "north"}},
        **programs.OUT_OF_ORDER,
        "scrape_configs": [
            {"job_name": name, "honor_labels": True, "static_configs": [{"targets": [target]}]}
            for name, target in targets.items()
        ],
    }
    programs.configure(program, config)
    program.start()
    ground.metrics |= {"settle": SETTLE / 1000, "backfill": (now() - BEGIN) / 1000 + 1800}  # BEGIN is of the session's begin
    ground.members = {"north": program.url, "west": ground.members["west"]}
    yield program
    program.kill()


def scrapes(exporter: Exporter, more: int) -> None:
    """Wait for some more scrapes."""
    wanted = exporter.scrapes + more
    until(lambda: exporter.scrapes >= wanted, f"scraped {more} times")


def collected_until_now(ground: Ground, collector) -> None:
    """Collect all that there is, and have the ground compare just that."""
    ground.time = now()
    cycles = [ground.cycle(collector), *ground.collected(collector)]
    until_when = min(reader.kept.progress.complete(ground.time) for reader in collector.readers.values())
    ground.windows = (Span(BEGIN, until_when),)
    assert not [done.error for done in cycles[-1].done.values() if done.error]


def test_what_is_scraped_while_it_is_collected_is_at_the_store_once(ground, north, scraped):
    ground.fill("west", usual())
    collector = ground.collector()
    for _ in range(3):
        scrapes(scraped, 2)
        collected_until_now(ground, collector)

    ground.is_whole()
    assert any(dict(labels).get("pod") == "pod-1" for labels in ground.at_store("north"))


@pytest.mark.parametrize("kind", KINDS[:1], indirect=True)
def test_a_member_that_was_killed_and_kept_its_data_is_complete(ground, north, scraped):
    for member in ground.members:
        ground.fill(member, usual())
    scrapes(scraped, 2)
    collector = ground.collector()
    ground.cycle(collector)
    north.kill()
    away = ground.cycle(collector)
    north.start()
    scrapes(scraped, 2)
    collected_until_now(ground, collector)

    assert "does not answer" in away.done[ground.name("north")].error
    assert not away.done[ground.name("west")].error
    assert not collector.readers[ground.name("north")].kept.progress.gaps
    ground.is_whole()


@pytest.mark.parametrize("kind", KINDS[:1], indirect=True)
def test_what_a_member_lost_with_its_data_is_a_gap_and_what_was_collected_stays(ground, north, scraped):
    for member in ground.members:
        ground.fill(member, usual())
    collector = ground.collector()
    reader = collector.readers[ground.name("north")]
    scrapes(scraped, 1)
    assert BEGIN == reader.member.keeps_since()
    ground.cycle(collector)
    before = ground.time
    kept = reader.kept.progress.done
    north.kill()
    shutil.rmtree(north.folder / "data")
    north.start()
    scrapes(scraped, 1)
    since = reader.member.keeps_since()
    scrapes(scraped, 1)
    ground.time = now()
    cycle = ground.cycle(collector)

    gaps = reader.kept.progress.gaps
    assert {"older than what the cluster keeps"} == {gap.why for gap in gaps}
    assert since == max(gap.span.hi for gap in gaps)
    assert cycle.done[ground.name("north")].gaps == sum(gap.span.length for gap in gaps) / 1000
    assert before <= since
    assert all(reader.kept.progress.done[0].lo <= span.lo for span in kept)
    assert END in [max(time for time, _ in samples) + 10_000 for samples in ground.at_store("north").values()]
    ground.collected(collector)
    ground.is_whole("west")
