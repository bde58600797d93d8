"""The runbook for the day Flotilla is gone, carried out: its commands as they are printed, on three real databases.

Real are bash, PostgreSQL, the agents and their guards. Stood in for, by scripts first on PATH: ssh (runs here what it is given,
as the user it is given, and fails for a site that is lost), systemctl (ends the agent of that site), and what acts on clusters
and DNS (kubectl, dig, curl), which does nothing.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flotilla.errors import FlotillaError
from flotilla.facts import Unknown
from flotilla.fleet import Fleet, parse_fleet
from flotilla.recovery.document import runbook
from flotilla.recovery.facts import HELD, LeaseSeen, World
from flotilla.recovery.parsing import parse_agent, parse_database
from flotilla.recovery.planning import plan_for
from flotilla.recovery.preamble import preamble
from flotilla.recovery.refusals import Asked
from flotilla.recovery.steps import Kind, OnFailure, Plan
from tasks.postgres import Observer
from tests.flotilla.recovery.test_files import FLEET
from tests.recovery.databases.conftest import needs_postgresql
from tests.recovery.databases.test_acts import reach
from tests.recovery.databases.trio import SITES, USER, Ledger, Site, Trio, built, until

pytestmark = [pytest.mark.programs, pytest.mark.timeout(900)]
ISOLATION = 3.0  # seconds; a guard that was not ended stops its primary after them
IN_VAIN = ("kubectl", "dig", "curl")
SSH = f"""#!/bin/bash
user=${{1%@*}}; export NODE=${{1#*@}}; shift; cd /
test -e "$FIELD/$NODE.lost" && {{ echo "ssh: connect to host $NODE: No route to host" >&2; exit 255; }}
test "$(id -u)" != 0 -o "$user" = root && exec bash -c "$*"
HOME=/ exec setpriv --reuid={USER} --regid={USER} --clear-groups bash -c "$*"
"""
SYSTEMCTL = """#!/bin/bash
read -r pid < "$FIELD/$NODE.pid"
test "$1" = is-active && { echo inactive; exit 3; }
kill -TERM "$pid" 2>/dev/null
while grep -q . "/proc/$pid/cmdline" 2>/dev/null; do sleep 0.05; done
"""


class Desk:
    """Where a person sits who has the document and a shell."""

    def __init__(self, made: Trio, folder: Path) -> None:
        self.trio, self.folder = made, folder
        for name, text in {"ssh": SSH, "systemctl": SYSTEMCTL, **dict.fromkeys(IN_VAIN, "#!/bin/true\n")}.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        self.note_agents()

    def note_agents(self) -> None:
        """Have systemctl know the agents that live."""
        for site in self.trio.sites.values():
            if site.process is not None:
                (self.folder / f"{site.name}.pid").write_text(f"{site.process.pid}\n")

    def lose(self, site: Site) -> None:
        """Have a site's node gone at once."""
        (self.folder / f"{site.name}.lost").touch()
        site.end(signal.SIGKILL)
        site.crash()

    def document(self, kind: Kind, to: str, printed: World | None = None) -> tuple[Plan, str]:
        """Return a plan, and it printed with what was known of the sites then; ssh finds a node by its site's name here."""
        fleet, world = the_fleet(), seen(self.trio)
        assert fleet.layout is not None
        assert fleet.recovery is not None
        plan = plan_for(Asked(kind, to), world, fleet.layout)
        assert isinstance(plan, Plan), str(plan)
        head = preamble(fleet.recovery, printed or world, fleet.layout)
        return plan, re.sub(r"(?m)^( +)(\S+)\) NODE=\S+", r"\1\2) NODE=\2", runbook(plan, head))

    def carry_out(self, plan: Plan, text: str) -> None:
        """Do one step after the other; as many acts of each as are enough have to end well."""
        head, *steps = re.split(r"(?m)^## \d+\. ", text)
        functions = blocks(head)[0]
        for step, section in zip(plan.steps, steps, strict=True):
            ended = [self._run(functions, block) for block in blocks(section)[: len(step.acts)]]
            failed = [told for code, told in ended if code]
            enough = len(step.acts) - len(failed) >= step.needed or step.on_failure is OnFailure.CONTINUE
            assert enough, f"{step.title}:\n" + "\n".join(failed)

    def _run(self, functions: str, block: str) -> tuple[int, str]:
        env = {**os.environ, "PATH": f"{self.folder}:{os.environ['PATH']}", "FIELD": str(self.folder)}
        script = f"set -euo pipefail\n{functions}\n{block}"
        done = subprocess.run(["bash"], input=script, capture_output=True, text=True, env=env, timeout=120, check=False)
        return done.returncode, f"{block}\n{done.stdout}{done.stderr}"


def blocks(section: str) -> list[str]:
    return re.findall(r"(?ms)^```\n(.*?)^```$", section)


def the_fleet() -> Fleet:
    text = re.sub(r"hosts: .*", "hosts: {production: 127.0.0.1, same-city: 127.0.0.1, remote: 127.0.0.1}", FLEET)
    return parse_fleet(text, "fleet.yaml")


def seen(made: Trio) -> World:
    """Return what is so; leases as a recovery leaves them, DNS and applications not looked at."""
    observers = {name: Observer(name, reach(made)) for name in SITES}
    earlier = {name: tried(name, lambda one=one: parse_database(one.look())) for name, one in observers.items()}
    time.sleep(HELD)
    lease = {name: LeaseSeen(name, "", 1, "", 1, "production", ("production", "same-city"), ("same-city",)) for name in SITES}
    return World(
        at=time.time(),
        agents={name: tried(name, lambda name=name: parse_agent(made[name].seen)) for name in SITES},
        databases={name: tried(name, lambda one=one: parse_database(one.look())) for name, one in observers.items()},
        leases=lease,
        earlier={name: one for name, one in earlier.items() if not isinstance(one, Unknown)},
    )


def tried(site: str, look: Callable[[], Any]) -> Any:
    try:
        return look()
    except FlotillaError as error:
        return Unknown(site, str(error))


def test_a_switchover_is_carried_out_by_hand_and_nothing_is_lost(tmp_path: Path) -> None:
    needs_postgresql()
    tmp_path.chmod(0o755)
    with built(isolation=ISOLATION) as made:
        desk = Desk(made, tmp_path)
        plan, text = desk.document(Kind.SWITCHOVER, "same-city")
        with Ledger([made[name] for name in SITES]) as ledger:
            ledger.wait()
            desk.carry_out(plan, text)
            ledger.wait()

        for name in ("production", "remote"):
            made.follows(name, "same-city")
        assert ledger.lost(made["same-city"]) == set()
        assert ledger.duplicated(made["same-city"]) == 0
        assert made.sync_state("same-city", "production") == "sync"
        assert made["production"].ask("select epoch || primary_site from flotilla.epoch") == f"{plan.epoch}same-city"
        assert made["production"].ask("select current_setting('port')") == str(made["production"].database.port)


def test_a_failover_and_the_way_back_are_carried_out_by_hand_and_agents_that_come_back_agree(tmp_path: Path) -> None:
    needs_postgresql()
    tmp_path.chmod(0o755)
    with built(isolation=ISOLATION) as made:
        desk, well = Desk(made, tmp_path), seen(made)
        with Ledger([made[name] for name in SITES]) as ledger:
            ledger.wait()
            desk.lose(made["production"])
            desk.carry_out(*desk.document(Kind.FAILOVER, "same-city", well))
            ledger.wait()
            (tmp_path / "production.lost").unlink()
            for site in made.sites.values():
                site.process = None if site.process is None or site.process.poll() is not None else site.process
                site.start()
            until(lambda: "made primary at epoch 2" in made["production"].log.read_text(), "production knows")
            time.sleep(2 * ISOLATION)
            ledger.wait()
            assert made["production"].server is None

            desk.note_agents()
            desk.carry_out(*desk.document(Kind.REPROTECT, "production", well))
            ledger.wait()

        for name in ("production", "remote"):
            made.follows(name, "same-city")
        assert ledger.lost(made["same-city"]) == set()
        assert made.sync_state("same-city", "production") == "sync"
