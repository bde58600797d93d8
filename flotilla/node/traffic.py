"""What an agent needs of its site's DNS server, whichever that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class Traffic(Protocol):
    """A DNS server of the site's own, which answers what it is told."""

    def seen(self) -> Mapping[str, Any]:
        """Return what it serves: ``{"serving", "zone", "epoch", "records": [{"name", "type", "ttl", "content"}]}``.

        Takes a second at most; raises Transient or Permanent where it cannot be looked at.
        """

    def set(self, zone: str, records: Sequence[Mapping[str, Any]]) -> bool:
        """Have these records in a zone, all or none, read back; return whether that changed anything.

        Raises Transient where it may be tried again, Permanent where it stays wrong.
        """
