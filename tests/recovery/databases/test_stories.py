"""Whole recoveries done by hand, act by act, under a client that writes: nothing acknowledged is lost."""

from __future__ import annotations

import gzip
import io
import json
import re
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from flotilla.errors import Permanent, Transient
from flotilla.node.config import parse_agent_config
from flotilla.recovery import lsn
from tasks.node_copying import _must_fit
from tasks.node_evidence import _read
from tasks.node_files import Recollection
from tasks.node_postgres import Node
from tasks.postgres import Observer
from tests.recovery.databases.test_acts import reach
from tests.recovery.databases.trio import SITES, SYNC, Ledger, Site, Trio, until

pytestmark = pytest.mark.programs


def switch(trio: Trio, origin: str, target: str) -> None:
    """Move the primary in order, as a plan does."""
    others = [name for name in SITES if name != target]
    third = next(name for name in others if name != origin)
    trio.begin()
    trio.act(target, "create_slots", names=others)
    trio.act(target, "set_sync", names="")
    trio.act(third, "follow", upstream=target)
    trio.follows(third, origin)
    trio.act(origin, "checkpoint")
    trio.act(origin, "drain", seconds=1)
    trio.act(origin, "fence")
    trio.follows(target, origin)
    trio.act(origin, "stop", mode="fast")
    stopped = trio[origin].shown["control"]
    received = trio[target].ask("select pg_last_wal_receive_lsn()")

    assert stopped["state"] == "shut down"
    assert lsn.parse(received) > lsn.parse(stopped["checkpoint"])
    trio.act(target, "promote", timeout=30)
    trio.act(target, "checkpoint")
    trio.act(origin, "follow", upstream=target)
    trio.act(origin, "start", as_="standby")
    for name in others:
        trio.follows(name, target)
    trio.act(origin, "unfence")
    trio.act(origin, "undrain")
    trio.act(target, "set_sync", names=f'FIRST 1 ("{origin}")')


def test_moved_there_and_back_under_load_nothing_is_lost_or_there_twice(own: Trio) -> None:
    with Ledger([own[name] for name in SITES]) as ledger:
        ledger.wait()
        switch(own, "production", "same-city")
        ledger.wait()
        switch(own, "same-city", "production")
        ledger.wait()

    assert ledger.lost(own["production"]) == set()
    assert ledger.duplicated(own["production"]) == 0
    assert own["remote"].ask("select epoch || primary_site from flotilla.epoch") == f"{own.epoch}production"


def lose(site: Site) -> None:
    """Kill agent and PostgreSQL at once, as a power failure does."""
    site.end(signal.SIGKILL)
    site.crash()


def write_unacknowledged(trio: Trio, *, text: str) -> None:
    """Have production write what same-city never gets: it is not acknowledged, and is in production's WAL."""
    trio.begin()
    trio.act("same-city", "detach")
    writing = trio["production"].connect()

    def write() -> None:
        with suppress(psycopg.Error):
            writing.execute("insert into doubted values (%s)", (text,))

    threading.Thread(target=write, daemon=True).start()
    until(
        lambda: trio["production"].ask("select count(*) from pg_stat_activity where wait_event = 'SyncRep'"),
        "a commit waits for its standby",
    )


def fail_over(trio: Trio) -> None:
    """Promote same-city, as production is gone."""
    trio.begin("same-city", "remote")
    for kind, given in (("detach", {}), ("set_sync", {"names": ""}), ("create_slots", {"names": ["production", "remote"]})):
        trio.act("same-city", kind, **given)
    trio.act("same-city", "promote", timeout=30)


def table_of_doubts(trio: Trio) -> None:
    with trio["production"].connect() as connection:
        connection.execute(b"create table doubted (what text)")


def discarded(site: Site) -> tuple[dict[str, Any], str]:
    """Return what was kept of what a rewind took back."""
    folders = sorted((site.database.folder / "state" / "evidence").iterdir())
    told = json.loads((folders[-1] / "discarded.json").read_text())
    assert [file.name for file in sorted((folders[-1] / "wal").iterdir())] == told["files"]
    return told, gzip.decompress((folders[-1] / "waldump.txt.gz").read_bytes()).decode()


def test_production_is_lost_under_load_and_comes_back_as_a_standby_with_nothing_acknowledged_lost(own: Trio) -> None:
    production = own["production"]
    table_of_doubts(own)
    with Ledger([own[name] for name in SITES]) as ledger:
        ledger.wait()
        write_unacknowledged(own, text="nobody was promised this")
        lose(production)
        fail_over(own)
        own.act("remote", "stop", mode="immediate")  # it may be ahead: that is another test
        ledger.wait()

        production.start()
        until(lambda: "PostgreSQL is not started: same-city" in production.log.read_text(), "the boot rule says no")
        assert production.server is None
        own.act("production", "begin")
        with pytest.raises(Permanent, match="rewind it"):  # recovery.md, finding 4: it would come up and replicate nothing
            own.act("production", "follow", upstream="same-city")
        with pytest.raises(Permanent, match="not started as primary"):
            own.act("production", "start", as_="primary")
        own.act("same-city", "checkpoint")
        told = own.act("production", "rewind", upstream="same-city", keep_evidence=True)["told"]
        assert not own.act("production", "rewind", upstream="same-city", keep_evidence=True)["changed"]
        own.act("production", "start", as_="standby")
        own.follows("production", "same-city")
        ledger.wait()

    kept, dump = discarded(production)
    assert ledger.lost(own["same-city"]) == set()
    assert ledger.duplicated(own["same-city"]) == 0
    assert "committed transactions" in told
    assert int(str(kept["commits"])) >= 1
    assert "desc: COMMIT" in dump
    assert production.ask_as_app("select count(*) from doubted") == 0


def test_a_rewind_waits_for_a_checkpoint_of_the_new_primary(own: Trio) -> None:
    """recovery.md, finding 3: without it pg_rewind says "Done!" and leaves a standby that never starts."""
    lose(own["production"])
    checkpointer = psutil.Process(own["same-city"].ask("select pid from pg_stat_activity where backend_type = 'checkpointer'"))
    checkpointer.suspend()  # the checkpoint that a promotion asks for takes long on a busy server
    try:
        fail_over(own)
        looked = Observer("same-city", reach(own)).look()
        assert (looked["timeline"], looked["checkpoint_timeline"]) == (2, 1)  # recovery.md, finding 6
        own["production"].start()
        own.act("production", "begin")
        with pytest.raises(Transient, match="no checkpoint on timeline 2"):
            own.act("production", "rewind", upstream="same-city", keep_evidence=True)
    finally:
        checkpointer.resume()
    own.act("same-city", "checkpoint")
    own.act("production", "rewind", upstream="same-city", keep_evidence=True)
    own.act("production", "start", as_="standby")
    own.follows("production", "same-city")


def test_remote_ahead_of_the_promoted_site_is_seen_and_rewound(own: Trio) -> None:
    """recovery-lab.md, 0.4: it loops for ever, and is shown as streaming now and then."""
    table_of_doubts(own)
    own.follows("remote", "production")
    write_unacknowledged(own, text="only remote has this")
    own.follows("remote", "production")
    lose(own["production"])
    fail_over(own)
    fork = next(one["at"] for one in own["same-city"].shown["forks"] if one["timeline"] == 2)
    ahead = Observer("remote", reach(own)).look()["position"]

    assert ahead > lsn.parse(fork)
    own.act("remote", "stop", mode="immediate")
    assert own["remote"].shown["control"]["state"] == "in archive recovery"
    own.act("same-city", "checkpoint")
    own.act("remote", "rewind", upstream="same-city", keep_evidence=True)
    own.act("remote", "start", as_="standby")
    own.follows("remote", "same-city")
    assert discarded(own["remote"])[0]["fork"] == fork
    assert own["remote"].ask_as_app("select count(*) from doubted") == 0


def test_a_standby_that_crashed_has_nothing_to_be_rewound_and_writes_no_wal_of_its_own(own: Trio) -> None:
    """Recovered as a primary would be, it writes a checkpoint on its upstream's timeline, and follows nobody any more."""
    own.begin()
    own.act("remote", "stop", mode="immediate")
    before = own["remote"].shown["control"]
    assert not own.act("remote", "rewind", upstream="production", keep_evidence=True)["changed"]
    assert own["remote"].shown["control"] == before
    own.act("remote", "start", as_="standby")
    own.follows("remote", "production")


def test_where_the_wal_for_a_rewind_is_gone_the_site_is_seeded_anew(own: Trio) -> None:
    own.begin()
    lose(own["production"])
    fail_over(own)
    own.act("same-city", "checkpoint")
    production = own["production"]
    for file in Path(production.database.data, "pg_wal").glob("0000000100000*"):
        file.unlink()
    production.start()
    own.act("production", "begin")
    with pytest.raises(Permanent):
        own.act("production", "rewind", upstream="same-city", keep_evidence=True)
    with pytest.raises(Permanent, match="reseed"):
        own.act("production", "rewind", upstream="same-city", keep_evidence=True)
    with pytest.raises(Permanent, match="follow another site first"):
        own.act("production", "start", as_="standby")
    own.act("production", "reseed", upstream="same-city")
    own.act("production", "start", as_="standby")
    own.follows("production", "same-city")

    assert len(asides(production)) == 1
    assert own["production"].ask("select current_setting('cluster_name')") == "production"
    assert own["production"].ask("select current_setting('synchronous_standby_names')") == ""  # SYNC was production's own


def asides(site: Site) -> list[Path]:
    """Return the databases that are kept until somebody deletes them."""
    return sorted(one for one in site.database.folder.glob("data.aside-epoch-*") if (one / "PG_VERSION").is_file())


def test_what_a_new_copy_discards_is_told_and_the_old_database_is_never_deleted(own: Trio) -> None:
    production = own["production"]
    table_of_doubts(own)
    own.follows("same-city", "production")
    write_unacknowledged(own, text="only production has this")
    lose(production)
    fail_over(own)
    production.start()
    own.act("production", "begin")
    told = own.act("production", "reseed", upstream="same-city")["told"]

    assert "1 INSERT in public.doubted" in told
    (aside,) = asides(production)
    assert f"kept until somebody deletes it: {aside}" in told
    assert discarded(production)[0]["timeline"] == 1
    for _ in range(2):  # what has nothing of its own is not kept for ever
        own.act("production", "stop", mode="fast")
        again = own.act("production", "reseed", upstream="same-city")["told"]
        assert "discarded" not in again
        assert asides(production) == [aside]
    own.act("production", "start", as_="standby")
    own.follows("production", "same-city")
    with pytest.raises(Permanent, match=re.escape(f"delete {production.database.data}.aside or {aside}")):
        _must_fit(
            Node(parse_agent_config(production.database.config.read_text(), "agent.yaml"), Recollection(Path("none"))), 1 << 60
        )


def test_what_a_site_wrote_after_it_was_promoted_itself_is_told_when_it_is_rewound(own: Trio) -> None:
    """Its own timeline begins where the other's goes on: there is nothing of it on the timeline that both have."""
    table_of_doubts(own)
    own.follows("same-city", "production")
    own.begin()
    for kind, given in (("detach", {}), ("set_sync", {"names": ""}), ("promote", {"timeout": 30})):
        own.act("same-city", kind, **given)
    with own["same-city"].connect() as line:
        line.execute(b"insert into doubted values ('only same-city has this'), ('and this')")
    own.act("same-city", "stop", mode="fast")
    own.act("production", "set_sync", names="")
    told = own.act("same-city", "rewind", upstream="production", keep_evidence=True)["told"]

    assert "2 INSERT in public.doubted" in told
    kept, dump = discarded(own["same-city"])
    assert {row["name"]: row["count"] for row in kept["rows"] if row["name"] == "public.doubted"} == {"public.doubted": 2}
    assert kept["unread"] == []
    assert "desc: COMMIT" in dump
    own.act("same-city", "start", as_="standby")
    own.follows("same-city", "production")


def test_a_dump_of_wal_that_takes_too_long_is_broken_off_and_told() -> None:
    count, why = _read(["sleep", "600"], io.StringIO(), time.monotonic() + 0.1)

    assert (count.records, why) == (0, "it took more than 3600 s")


def test_what_was_set_at_the_old_primary_is_not_copied_with_its_data(own: Trio) -> None:
    """recovery.md, findings 1 and 2: the copy would wait for itself, or be read-only once it is promoted."""
    own.begin()
    own.act("production", "drain", seconds=0)
    own.act("remote", "stop", mode="fast")
    own.act("remote", "reseed", upstream="production")
    own.act("remote", "start", as_="standby")
    for name, expected in (("synchronous_standby_names", ""), ("default_transaction_read_only", "off")):
        assert own["remote"].ask(f"select reset_val from pg_settings where name = '{name}'") == expected
    assert own["production"].ask("select current_setting('synchronous_standby_names')") == SYNC


def test_no_second_database_is_begun_where_another_site_has_or_may_have_one(bare: Trio) -> None:
    bare.begin()
    bare.act("production", "initialise")
    with pytest.raises(Permanent, match="production has a database"):
        bare.act("same-city", "initialise")
    bare["production"].end(signal.SIGKILL)
    with pytest.raises(Transient, match="production do not answer"):
        bare.act("same-city", "initialise")
