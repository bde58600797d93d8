"""May an agent start its PostgreSQL by itself, and as what: the boot rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from flotilla.node.memory import Memory


class Role(StrEnum):
    """What PostgreSQL is started as."""

    STANDBY = "standby"
    PRIMARY = "primary"


@dataclass(frozen=True)
class Answer:
    """What another agent said just now: the epoch it accepted, at which it last was made primary, what its server does.

    ``is_standby``: it has standby.signal. The epoch at which it is made primary is kept before the promotion begins.
    ``token`` is where its WAL ended as a primary, of one that CloudNativePG demoted.
    """

    epoch: int
    primary_epoch: int
    process: str = "absent"
    is_standby: bool = False
    token: str = ""


@dataclass(frozen=True)
class Boot:
    """What is to be started, None for nothing, and why."""

    role: Role | None
    told: str


def boot(memory: Memory, *, is_standby: bool, answers: Mapping[str, Answer | None]) -> Boot:
    """Decide what may be started; ``answers`` are the other agents', None where one did not answer.

    A standby does no harm. What was a primary comes back as one only if it cannot have been replaced: a recovery has its epoch
    accepted by a majority before it does anything, and any two majorities share an agent, so one of a majority knows of it.
    If a recovery began here since this site was made primary, it may have promoted another at the same epoch: then everybody
    has to answer, and nobody else may have been promoted since.
    """
    if memory.unfinished:
        return Boot(None, f"{memory.unfinished} was begun and not ended: PGDATA is of no use until the site is reseeded")
    if not memory.autostart:
        return Boot(None, f"it was stopped on purpose, by run {memory.run or '?'} of epoch {memory.epoch}")
    if is_standby:
        return Boot(Role.STANDBY, "it is a standby")
    silent = ", ".join(sorted(site for site, one in answers.items() if one is None))
    if memory.epoch > memory.primary_epoch and silent:
        return Boot(None, f"epoch {memory.epoch} began after this site was made primary, and {silent} do not answer")
    for site, one in answers.items():
        if one is not None and one.primary_epoch > memory.primary_epoch:
            return Boot(None, f"{site} was made primary at epoch {one.primary_epoch}, after {memory.primary_epoch} here")
    return may_be_primary(memory, answers)


def may_be_primary(memory: Memory, answers: Mapping[str, Answer | None]) -> Boot:
    """Decide whether a server without standby.signal may be started by the recovery whose epoch was accepted here.

    That one knows whom it promoted: nobody else acts at its epoch. So it is enough that no later one is known; by a majority,
    or by whoever answers if people broke the glass for this epoch, as no majority could be had.
    """
    answered = {site: one for site, one in answers.items() if one is not None}
    silent = ", ".join(sorted(set(answers) - set(answered)))
    needed = 1 if memory.glass else (len(answers) + 1) // 2 + 1
    if len(answered) + 1 < needed:
        return Boot(None, f"no majority: {silent} do not answer, and another site may have been promoted")
    for site, one in answered.items():
        if one.epoch > memory.epoch:
            return Boot(None, f"{site} has accepted epoch {one.epoch}, above {memory.epoch}: another site may be the primary")
        if one.primary_epoch > memory.primary_epoch and not one.is_standby:
            return Boot(None, f"{site} was made primary at epoch {one.primary_epoch}, after {memory.primary_epoch} here")
    word = f", and {' and '.join(memory.glass)} broke the glass" if memory.glass else ""
    return Boot(Role.PRIMARY, f"{len(answered) + 1} of {len(answers) + 1} agents know of no later primary{word}")
