"""What pg_controldata prints, parsed."""

from __future__ import annotations

from dataclasses import dataclass

from flotilla.errors import Permanent
from flotilla.recovery import lsn

PRODUCTION = "in production"
STOPPED = "shut down"
STOPPED_STANDBY = "shut down in recovery"


@dataclass(frozen=True)
class ControlData:
    """pg_control: ``timeline`` is the checkpoint's, which lags behind a promotion (recovery.md, finding 6).

    Positions are bytes of WAL. ``end`` is the minimum recovery ending location, 0 where there is none.
    """

    state: str
    system: str
    timeline: int
    checkpoint: int
    redo: int
    end: int
    end_timeline: int
    checksums: bool
    hints: bool

    @property
    def is_clean(self) -> bool:
        """Whether it was stopped in order, so that no WAL is left to be replayed."""
        return self.state in (STOPPED, STOPPED_STANDBY)

    @property
    def can_rewind(self) -> bool:
        """Whether pg_rewind may work on it."""
        return self.checksums or self.hints

    def shown(self) -> dict[str, object]:
        """Return it as the API tells it."""
        return {
            "state": self.state,
            "system_identifier": self.system,
            "timeline": self.timeline,
            "checkpoint": lsn.show(self.checkpoint),
            "min_recovery_end": lsn.show(self.end),
        }


def parse_controldata(text: str) -> ControlData:
    """Return what pg_controldata printed (in the C locale); raises Permanent where something is missing."""
    found = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    values = {key.strip(): value.strip() for key, value in found.items()}
    try:
        return ControlData(
            state=values["Database cluster state"],
            system=values["Database system identifier"],
            timeline=int(values["Latest checkpoint's TimeLineID"]),
            checkpoint=lsn.parse(values["Latest checkpoint location"]),
            redo=lsn.parse(values["Latest checkpoint's REDO location"]),
            end=lsn.parse(values["Minimum recovery ending location"]),
            end_timeline=int(values["Min recovery ending loc's timeline"]),
            checksums=values["Data page checksum version"] != "0",
            hints=values["wal_log_hints setting"] == "on",
        )
    except (KeyError, ValueError) as error:
        raise Permanent(f"pg_controldata printed no {error}: is it that of PostgreSQL 15?") from None
