"""Fixtures: two Prometheus as members and a store of each kind, shared by all tests, and a fleet of each test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from flotilla.metrics.config import StoreKind
from tests.metrics import programs
from tests.metrics.faulty import FaultyProxy, proxied
from tests.metrics.ground import EXTERNAL, KINDS, Ground
from tests.metrics.programs import StoreProgram

Stores = Callable[[StoreKind], StoreProgram]


@pytest.fixture(scope="session")
def members(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Yield where two members listen."""
    folder = tmp_path_factory.mktemp("members")
    config = {"global": {"external_labels": EXTERNAL}, "storage": programs.OUT_OF_ORDER["storage"]}
    with ExitStack() as ends:
        found = {}
        for name in ("east", "west"):
            one = programs.prometheus(folder / name, config)
            ends.callback(one.kill)
            one.start()
            found[name] = one.url
        yield found


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    """Yield what gives the shared store of a kind."""
    folder, running = tmp_path_factory.mktemp("stores"), dict[StoreKind, StoreProgram]()
    with ExitStack() as ends:

        def of(kind: StoreKind) -> StoreProgram:
            if kind not in running:
                running[kind] = programs.store(kind, folder / kind)
                ends.callback(running[kind].program.kill)
                running[kind].program.start()
            return running[kind]

        yield of


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> StoreKind:
    """Return a kind of store: what asks for it is tested with each."""
    return StoreKind(request.param)


@pytest.fixture
def ground(kind: StoreKind, stores: Stores, members: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ground:
    """Return a fleet of one's own at the shared programs, collected at a time that the ground says."""
    made = Ground(stores(kind), dict(members), tmp_path)
    monkeypatch.setattr("flows.collector.now", lambda: made.time)
    monkeypatch.setattr("tasks.store.PAUSES", (0.01,) * 4)
    return made


@pytest.fixture
def own_store(kind: StoreKind, ground: Ground, tmp_path: Path) -> Iterator[StoreProgram]:
    """Yield a running store of this test's own, which it may end; the ground uses it."""
    made = programs.store(kind, tmp_path / "store")
    made.program.start()
    ground.store = made
    yield made
    made.program.kill()


@pytest.fixture
def east(ground: Ground) -> Iterator[FaultyProxy]:
    """Yield a proxy through which the cluster east is reached."""
    with proxied(ground.members["east"]) as proxy:
        ground.urls["east"] = proxy.url
        yield proxy


@pytest.fixture
def at_store(ground: Ground) -> Iterator[FaultyProxy]:
    """Yield a proxy through which the store is reached."""
    with proxied(ground.store.url) as proxy:
        ground.store_url = proxy.url
        yield proxy
