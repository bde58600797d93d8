"""PostgreSQL's settings as a site needs them, rendered: its configuration file, connection strings, postgresql.auto.conf.

Sources: recovery-lab.md sections 0 and 1; PostgreSQL 15, chapters 20.1.2 (file format) and 34.1.1 (connection strings).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from flotilla.node.config import AgentConfig, slot_of
from flotilla.node.hba import REPLICATION, REWIND

CONNECT = 3  # seconds to connect to another site; libpq takes 2 at least
SILENCE = 5  # seconds after which a silent peer is given up
NOBODY = ("127.0.0.1", 1)
"""Where a standby that has to name an upstream finds none: nothing listens there, and whoever asks is told so at once."""


def configuration(config: AgentConfig) -> str:
    """Return postgresql.conf, which lies outside PGDATA and is named on the command line (recovery-lab.md, 0.7)."""
    postgres, state, tls = config.postgres, config.state, config.tls
    made: dict[str, object] = {
        "data_directory": postgres.data,
        "hba_file": state / "pg_hba.conf",
        "ident_file": state / "pg_ident.conf",
        "listen_addresses": postgres.listen,
        "port": postgres.port,
        "unix_socket_directories": postgres.run,
        "cluster_name": config.site,  # also its standby's application_name, by which commits wait for it
        "ssl": "on",
        "ssl_cert_file": tls.cert,
        "ssl_key_file": tls.key,
        "ssl_ca_file": tls.ca,
        "password_encryption": "scram-sha-256",
        "hot_standby": "on",
        "recovery_target_timeline": "latest",
        # The agent starts a primary, by the boot rule; PostgreSQL must not come back by itself after a crash of a backend.
        "restart_after_crash": "off",
    }
    return "".join(f"{name} = {quoted(str(value))}\n" for name, value in {**_DEFAULTS, **postgres.settings, **made}.items())


_DEFAULTS = {
    "wal_level": "replica",
    "wal_log_hints": "on",  # beside checksums: pg_rewind needs either before the failure
    "max_wal_senders": "10",
    "max_replication_slots": "10",
    "wal_keep_size": "64MB",
    "max_slot_wal_keep_size": "4GB",  # what a lost standby may hold back; without a limit it fills the disk
    "wal_receiver_timeout": f"{SILENCE}s",
    "wal_sender_timeout": f"{SILENCE}s",
    "wal_receiver_status_interval": "1s",
    "wal_retrieve_retry_interval": "500ms",  # else a standby takes 5 s to come back, and is left behind by a fast stop
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": "3",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "log_checkpoints": "off",
}


def conninfo(config: AgentConfig, site: str, role: str = REPLICATION) -> str:
    """Return how this site connects to another's database: for ever without asking, and never for ever waiting."""
    place = config.sites[site]
    words = {
        "host": place.host,
        "port": place.port,
        "user": role,
        "passfile": config.state / "pgpass",  # not a password: pg_settings shows the string to whoever monitors
        "sslmode": "verify-full",
        "sslrootcert": config.tls.ca,
        "connect_timeout": CONNECT,
        "tcp_user_timeout": SILENCE * 1000,
        "keepalives_idle": SILENCE,
        "keepalives_interval": 1,
        "keepalives_count": 3,
    }
    if role == REWIND:
        words["dbname"] = "postgres"
    return " ".join(f"{name}={_conninfo_value(str(value))}" for name, value in words.items())


def auto_conf(config: AgentConfig, upstream: str) -> str:
    """Return postgresql.auto.conf of a standby: nothing of what was copied in it stays (recovery.md, findings 1 and 2)."""
    lines = {"primary_conninfo": conninfo(config, upstream), "primary_slot_name": slot_of(config.site)}
    return "".join(f"{name} = {quoted(value)}\n" for name, value in lines.items())


def passfile(passwords: Mapping[str, str]) -> str:
    """Return a pgpass file: for any server that shows a certificate of ours, the passwords of our roles."""
    return "".join(f"*:*:*:{role}:{_escaped(password)}\n" for role, password in passwords.items())


def command(config: AgentConfig) -> list[str]:
    """Return how PostgreSQL is started."""
    file = config.state / "postgresql.conf"
    return [str(config.postgres.bin / "postgres"), "-D", str(config.postgres.data), "-c", f"config_file={file}"]


def quoted(value: str) -> str:
    """Return a value as configuration files hold it."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def upstream_of(line: str, places: Mapping[str, tuple[str, int]]) -> str:
    """Return the site that a connection string leads to, "" for none and for nobody, or the host where no site is there."""
    words = dict(word.split("=", 1) for word in line.replace("'", "").split() if "=" in word)
    if "host" not in words:
        return ""
    reached = (words["host"], int(words.get("port", "5432")))
    if reached == NOBODY:
        return ""
    return next((site for site, place in places.items() if place == reached), words["host"])


def files(config: AgentConfig) -> dict[str, Path]:
    """Return the files that the agent writes for PostgreSQL, all outside PGDATA."""
    return {name: config.state / name for name in ("postgresql.conf", "pg_hba.conf", "pg_ident.conf", "pgpass")}


def _conninfo_value(value: str) -> str:
    plain = value and not set(value) & set(" '\\")
    return value if plain else "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _escaped(password: str) -> str:
    return password.replace("\\", "\\\\").replace(":", "\\:")
