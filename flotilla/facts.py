"""What a sensor saw, of which cluster, and when; or that it could not look."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Unknown:
    """Nobody could look: never to be read as "nothing is there".

    ``cluster`` is the cluster's name, ``reason`` the sentence to show.
    """

    cluster: str
    reason: str

    def __str__(self) -> str:
        return f"{self.cluster}: {self.reason}"
