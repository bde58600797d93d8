"""Must a primary stop because it may have been replaced: the isolation rule. Times are of a clock that never goes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Contact:
    """How another agent was last reached. ``at`` is when the last question that it answered was put, None if none was.

    ``epoch`` and ``primary_epoch`` are what it said then, ``glass`` whether people broke the glass for that epoch,
    ``is_standby`` whether it would start as one, ``isolation`` its own patience in seconds if it told, ``reached`` whether the
    very last question was answered.
    """

    reached: bool = False
    at: float | None = None
    epoch: int = 0
    primary_epoch: int = 0
    error: str = "not asked yet"
    glass: bool = False
    is_standby: bool = False
    isolation: float | None = None


def supported_at(
    contacts: Mapping[str, Contact], epoch: int, now: float, *, glass: bool = False, since: int | None = None
) -> float | None:
    """Return when, with this site, a majority last knew of no epoch above ours; None if that is not known of any time.

    A recovery begins with a majority at its epoch. So a primary that it did not reach either no longer reaches a majority, or
    hears of the higher epoch from it: either way it is without support from then on. Where people broke the glass their word
    stands for the majority: ``glass``, if it was for our epoch, needs nobody's support, and one site that tells of a higher
    epoch of that kind is enough to withdraw it. So is one that was made primary after us, who are since the epoch ``since``:
    that it keeps to the epoch that we accepted, too, is no support.
    """
    if any(_replaces(one, since) for one in contacts.values()):
        return None
    above = [one for one in contacts.values() if one.epoch > epoch]
    if any(glass or one.glass for one in above):
        return None
    needed = 0 if glass else (len(contacts) + 1) // 2
    times = sorted((one.at for one in contacts.values() if one.at is not None and one.epoch <= epoch), reverse=True)
    if needed == 0:
        return now
    return times[needed - 1] if len(times) >= needed else None


@dataclass
class Watch:
    """Since when a primary has been without support. ``patience`` in seconds, counted from ``supported`` on."""

    patience: float
    supported: float

    def look(
        self, contacts: Mapping[str, Contact], epoch: int, now: float, *, glass: bool = False, since: int | None = None
    ) -> str:
        """Take a look into account; return why a primary must be stopped, or "".

        ``glass``: it was broken for our epoch; ``since``: the epoch at which we were made primary, None if it is not known.
        """
        at = supported_at(contacts, epoch, now, glass=glass, since=since)
        self.supported = max(self.supported, at if at is not None else self.supported)
        alone = now - self.supported
        if alone < self.patience:
            return ""
        told = "; ".join(_told(site, one, epoch, since) for site, one in contacts.items())
        return f"without a majority for {alone:.1f} s ({told}): another site may have been promoted"


def _replaces(contact: Contact, since: int | None) -> bool:
    return since is not None and not contact.is_standby and contact.primary_epoch > since


def _told(site: str, contact: Contact, epoch: int, since: int | None) -> str:
    if _replaces(contact, since):
        return f"{site} was made primary at epoch {contact.primary_epoch}, after {since} here"
    if not contact.reached:
        return f"{site} does not answer"
    return f"{site} has accepted epoch {contact.epoch}" + (f", above {epoch}" if contact.epoch > epoch else "")
