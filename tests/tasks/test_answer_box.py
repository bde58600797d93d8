"""Where signed answers lie until a run reads them: any cluster, any number of people, the same answer once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from flotilla.errors import Transient
from tasks.answer_box import KIND, put, tokens
from tasks.clusters import Connection
from tasks.leadership import NAMESPACE
from tests.tasks.faults import FaultProxy

pytestmark = pytest.mark.lab
RUN = "answer-box-test"


@pytest.fixture(autouse=True)
def own(connection: Connection) -> Iterator[None]:
    yield
    for run in (RUN, f"{RUN}-2"):
        connection.request("DELETE", KIND.path(NAMESPACE, f"flotilla-recovery-{run}-answers"))


def test_nobody_has_answered_a_run_that_nobody_knows(connection: Connection) -> None:
    assert () == tokens(connection, RUN)


def test_an_answer_given_twice_is_one_and_is_of_its_run_only(connection: Connection) -> None:
    for _ in range(2):
        put(connection, RUN, "signed by alice")

    assert ("signed by alice",) == tokens(connection, RUN)
    assert () == tokens(connection, f"{RUN}-2")


def test_people_who_answer_at_once_do_not_write_over_each_other(connection: Connection) -> None:
    given = {f"signed by {number}" for number in range(8)}
    with ThreadPoolExecutor(len(given)) as pool:
        list(pool.map(lambda token: put(connection, RUN, token), given))

    assert given == set(tokens(connection, RUN))


def test_an_answer_that_nobody_knows_to_be_kept_is_given_again_and_is_one(proxy: FaultProxy, connection: Connection) -> None:
    proxy.make(method="PATCH", path="configmaps", cut="after")
    with pytest.raises(Transient):
        put(proxy.connection, RUN, "signed by alice")
    put(proxy.connection, RUN, "signed by alice")

    assert ("signed by alice",) == tokens(connection, RUN)


def test_a_box_that_cannot_be_read_is_no_empty_one(proxy: FaultProxy) -> None:
    proxy.make(method="GET", path="configmaps", status=503, times=5)
    with pytest.raises(Transient):
        tokens(proxy.connection, RUN)
