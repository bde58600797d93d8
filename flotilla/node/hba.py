"""Who may connect: pg_hba.conf and pg_ident.conf, rendered. The first line that fits decides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

OPERATOR, OBSERVER, REPLICATION, REWIND, ADMIN = "operator", "observer", "repl", "rewind", "postgres"
ROLES = (OPERATOR, OBSERVER, REPLICATION, REWIND)
"""Flotilla's own roles: none of them is a client of the business."""
MANAGED, MANAGER = ("streaming_replica", "cnpg_metrics_exporter"), "cnpg-instance-manager"
"""Roles of CloudNativePG's own, and the name by which its manager comes in through the socket, as superuser."""
MAP = "flotilla"
_METHOD = "scram-sha-256"


def hba(networks: Sequence[str], *, fenced: bool) -> str:
    """Return pg_hba.conf: TLS and SCRAM for everybody from outside; fenced, for replication and those who look only.

    Whoever is inside is not put out by it: they have to be terminated after it was read anew (recovery.md, 2.3).
    """
    always = [
        f"local all {OPERATOR} peer map={MAP}",
        *_from(networks, "replication", REPLICATION),
        *_from(networks, "all", OBSERVER),
    ]
    clients = [
        f"local all {ADMIN} peer map={MAP}",
        *_from(networks, "all", REWIND),
        *(f"host all {','.join((*ROLES, ADMIN))} {network} reject" for network in networks),
        *_from(networks, "all", "all"),
    ]
    nobody = [
        "local all all reject",
        "host all all all reject",
        "local replication all reject",
        "host replication all all reject",
    ]
    return _lines("fenced" if fenced else "open", [*always, *([] if fenced else clients), *nobody])


def ident(users: Iterable[str]) -> str:
    """Return pg_ident.conf: which of the system's users may be operator, and the superuser, on the node itself."""
    return _lines("who the system's users may be", [f"{MAP} {user} {role}" for user in users for role in (OPERATOR, ADMIN)])


def _from(networks: Iterable[str], database: str, role: str) -> list[str]:
    return [f"hostssl {database} {role} {network} {_METHOD}" for network in networks]


def _lines(title: str, lines: Iterable[str]) -> str:
    return "\n".join((f"# {title}; written by flotilla agent, which writes it again", *lines)) + "\n"
