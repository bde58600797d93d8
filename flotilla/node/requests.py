"""What an agent may be asked to do: each act with exactly its arguments, parsed strictly."""

from __future__ import annotations

import json
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from flotilla.errors import InvalidInput, Problem, phrase
from flotilla.fleet import DnsLabel
from flotilla.node.boot import Role
from flotilla.validation import Strict, checked

_SYNC = re.compile(r'FIRST 1 \("[a-z0-9-]+"(, "[a-z0-9-]+")*\)')


def _sync_names(value: str) -> str:
    if value and not _SYNC.fullmatch(value):
        raise ValueError('"" or FIRST 1 ("SITE", ...): never *, which any connection satisfies')
    return value


class Begin(Strict):
    """Accept the request's epoch."""

    kind: Literal["begin"]


class BreakGlass(Strict):
    """Accept the request's epoch on the word of two different people, as no majority can be had."""

    kind: Literal["break_glass"]
    approvals: tuple[str, ...] = Field(min_length=2)


class Initialise(Strict):
    """Make a new, empty database where no site has one: the first primary."""

    kind: Literal["initialise"]


class Fence(Strict):
    """Keep clients out, and put those out that are in."""

    kind: Literal["fence"]


class Unfence(Strict):
    """Let clients in."""

    kind: Literal["unfence"]


class Drain(Strict):
    """New transactions are read-only; open ones may take ``seconds`` to end."""

    kind: Literal["drain"]
    seconds: float = Field(ge=0, le=60)


class Undrain(Strict):
    """Transactions may write."""

    kind: Literal["undrain"]


class Checkpoint(Strict):
    """Write a checkpoint."""

    kind: Literal["checkpoint"]


class SetSync(Strict):
    """Set synchronous_standby_names."""

    kind: Literal["set_sync"]
    names: Annotated[str, AfterValidator(_sync_names)]


class CreateSlots(Strict):
    """Have a usable slot for each of these sites."""

    kind: Literal["create_slots"]
    names: tuple[DnsLabel, ...]


class DropSlots(Strict):
    """Have no slot for any of these sites."""

    kind: Literal["drop_slots"]
    names: tuple[DnsLabel, ...]


class Follow(Strict):
    """Be a standby of another site."""

    kind: Literal["follow"]
    upstream: DnsLabel


class Detach(Strict):
    """Be a standby of nobody."""

    kind: Literal["detach"]


class ResumeReplay(Strict):
    """Replay what was received."""

    kind: Literal["resume_replay"]


class Stop(Strict):
    """Stop PostgreSQL, and do not start it by oneself."""

    kind: Literal["stop"]
    mode: Literal["fast", "immediate"]


class Start(Strict):
    """Start PostgreSQL as what it is said to be."""

    kind: Literal["start"]
    role: Role = Field(alias="as")


class Promote(Strict):
    """Make the standby the primary, within ``timeout`` seconds."""

    kind: Literal["promote"]
    timeout: float = Field(gt=0, le=600)


class Rewind(Strict):
    """Take back what ``upstream`` does not have; ``keep_evidence`` first keeps it aside."""

    kind: Literal["rewind"]
    upstream: DnsLabel
    keep_evidence: bool


class Reseed(Strict):
    """Copy ``upstream`` anew."""

    kind: Literal["reseed"]
    upstream: DnsLabel


class Record(Strict):
    """A record of the zone; names are absolute."""

    name: str = Field(min_length=1)
    type: str = Field(min_length=1)
    ttl: int = Field(ge=0)
    content: str = Field(min_length=1)


class SetTraffic(Strict):
    """Have exactly these contents for the names and types that are given, all or none."""

    kind: Literal["set_traffic"]
    zone: str = Field(pattern=r".\.$")
    records: tuple[Record, ...] = Field(min_length=1)


Act = (
    Begin | BreakGlass | Initialise | Fence | Unfence | Drain | Undrain | Checkpoint | SetSync | CreateSlots | DropSlots
    | Follow | Detach | ResumeReplay | Stop | Start | Promote | Rewind | Reseed | SetTraffic
)  # fmt: skip


class Request(Strict):
    """An act under an epoch, which belongs to a run."""

    epoch: int = Field(ge=1)
    run: str = Field(min_length=1, max_length=200)
    act: Annotated[Act, Field(discriminator="kind")]


def parse_request(body: bytes) -> Request:
    """Return what was asked for; raises InvalidInput naming field, value and what is allowed."""
    try:
        data = json.loads(body)
    except ValueError as error:
        raise InvalidInput([Problem("request", "", phrase(f"is not JSON: {error}"), "a JSON object")]) from None
    return checked(Request, data, "request")
