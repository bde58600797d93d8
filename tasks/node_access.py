"""Who may use a node's PostgreSQL: fenced, unfenced, drained, undrained."""

from __future__ import annotations

import signal
import time

from flotilla.errors import Transient
from flotilla.node.database import Told
from flotilla.node.hba import ROLES
from tasks.node_postgres import ACT, Node
from tasks.node_processes import POLL

# Whoever waits for a synchronous standby has committed already: to be in doubt is all that can still happen to it. It is left
# alone, and never cancelled, as that would acknowledge what no standby has (recovery-lab.md, 0.3).
_CLIENTS = (
    "select pid, coalesce(wait_event = 'SyncRep', false), xact_start from pg_stat_activity "
    "where backend_type = 'client backend' and pid <> pg_backend_pid() and usename <> all(%s)"
)


def fence(node: Node) -> Told:
    """Have no client in the database and let none in: first the door, then those inside, then a count of nobody.

    Read-only alone is no fence: any session may set itself writable again (recovery.md, finding 2).
    """
    was = node.memory.now.fenced
    node.memory.change(fenced=True)
    changed = node.reload_access() or not was
    if not node.runs():
        return Told(f"{node.config.site} lets no client in once it runs", changed)
    put_out, in_doubt = _put_out(node, node.server.children())
    told = f"{put_out} put out" + (f", {in_doubt} wait for a standby and are in doubt" if in_doubt else "")
    return Told(f"{node.config.site} lets no client in; {told}", changed or bool(put_out))


def unfence(node: Node) -> Told:
    """Let clients in."""
    was = node.memory.now.fenced
    node.memory.change(fenced=False)
    changed = node.reload_access() or was
    return Told(f"{node.config.site} lets clients in", changed)


def drain(node: Node, seconds: float) -> Told:
    """Have new transactions read-only, and wait so long for those that are open. A courtesy to those who keep to it."""
    changed = node.alter("default_transaction_read_only", "on")
    began = node.ask("select clock_timestamp()")[0][0]
    deadline = time.monotonic() + seconds
    while True:
        left = [pid for pid, waits, since in _clients(node) if since is not None and since <= began and not waits]
        if not left or time.monotonic() >= deadline:
            break
        time.sleep(POLL)
    told = f"{len(left)} transactions are still open after {seconds:g} s" if left else "no earlier transaction is open"
    return Told(f"new transactions at {node.config.site} are read-only; {told}", changed)


def undrain(node: Node) -> Told:
    """Let transactions write; the setting outlives restarts and promotions, so it has to be taken back (finding 2)."""
    changed = node.alter("default_transaction_read_only", None)
    return Told(f"transactions at {node.config.site} may write", changed)


def _put_out(node: Node, earlier: set[int]) -> tuple[int, int]:
    """Terminate clients until there are none but those in doubt; return how many were put out and how many are in doubt.

    ``earlier`` are the server's processes as the door was shut: one of them may still be on its way in by the old rules.
    """
    deadline, told = time.monotonic() + ACT, set[int]()
    while True:
        clients = _clients(node)
        inside = {pid for pid, waits, _ in clients if not waits} | _coming_in(node, earlier)
        if not inside:
            return len(told), len(clients)
        if time.monotonic() > deadline:
            raise Transient(f"{len(inside)} clients of {node.config.site} are still in after {ACT:.0f} s")
        for pid in inside:
            node.server.backend(pid, signal.SIGTERM)
        told |= inside
        time.sleep(POLL)


def _clients(node: Node) -> list[tuple[int, bool, object]]:
    return [(int(pid), bool(waits), since) for pid, waits, since in node.ask(_CLIENTS, list(ROLES))]


def _coming_in(node: Node, earlier: set[int]) -> set[int]:
    known = {int(row[0]) for row in node.ask("select pid from pg_stat_activity")}
    return (earlier & node.server.children()) - known
