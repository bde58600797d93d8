"""The guard of a primary that CloudNativePG runs: has the operator fence it once its agent has been silent for too long.

As ``tasks.node_guard``, whose clock and files it shares; but what it needs is the site's API server and the operator. It is run
as a program: ``python -m tasks.node_cnpg_guard ALIVE LOCK PATIENCE SITE KUBECONFIG CONTEXT PATH``.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from flotilla.errors import FlotillaError
from flotilla.node.cnpg import parse_cluster, part_of, put_down
from flotilla.node.config import AgentConfig
from tasks.clusters import Connection, refused
from tasks.node_cnpg import API, MERGE, connection
from tasks.node_guard import Guard, alone, tell, watch

PAUSE = 1.0  # seconds between tries


def guard_of(config: AgentConfig, path: str, patience: float) -> Guard:
    """Return the guard of a site's Cluster, which is at ``path`` of its API server."""
    part = part_of(config)
    more = [str(patience), config.site, str(part.kubeconfig), part.context, path]
    return Guard(config.state, ["-m", "tasks.node_cnpg_guard"], more)


def is_put_down(api: Connection, site: str, path: str, why: str) -> bool:
    """Have a Cluster that is a primary fenced; False where there is no such primary, or it was fenced already."""
    answer = api.request("GET", path, timeout=API)
    if answer.status == 404:
        return False
    if answer.status != 200:
        raise refused(site, f"read {path}", answer)
    seen = parse_cluster(answer.body, site)
    if seen.is_standby or seen.put_down:
        return False
    answer = api.request("PATCH", path, body=put_down(why), content_type=MERGE, timeout=API)
    if answer.status != 200:
        raise refused(site, f"fence {path}", answer)
    return True


def _main(alive: str, lock: str, patience: str, site: str, kubeconfig: str, context: str, path: str) -> None:
    def late(age: float) -> None:
        try:
            if is_put_down(connection(site, kubeconfig, context), site, path, f"its agent was silent for {age:.0f} s"):
                tell(age, "the operator is told to stop PostgreSQL")
        except FlotillaError as error:
            tell(age, str(error))
        time.sleep(PAUSE)

    if alone(lock):
        watch(Path(alive), float(patience), late)


if __name__ == "__main__":
    _main(*sys.argv[1:])
