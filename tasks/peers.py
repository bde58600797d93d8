"""The other sites' agents, asked every second: who answers, and which epoch each has accepted."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Any

from flotilla.errors import FlotillaError
from flotilla.node.boot import Answer
from flotilla.node.isolation import Contact
from tasks.agents import Agent
from tasks.node_guard import steady

EVERY = 1.0  # seconds between questions
PATIENCE = 1.5  # seconds for an answer


class Peers:
    """Asks each of the others from a thread of its own, so that one that hangs hides nobody."""

    def __init__(self, agents: Mapping[str, Agent]) -> None:
        self._agents = dict(agents)
        self._contacts = {site: Contact() for site in self._agents}
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(max(1, len(self._agents)), thread_name_prefix="answers")

    def start(self) -> None:
        """Begin to ask."""
        for site in self._agents:
            threading.Thread(target=self._ask_for_ever, args=(site,), name=f"peer-{site}", daemon=True).start()

    def stop(self) -> None:
        """Ask no more."""
        self._stopping.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    @property
    def contacts(self) -> Mapping[str, Contact]:
        """How each of the others was last reached."""
        return dict(self._contacts)

    def answers(self) -> Mapping[str, Answer | None]:
        """Ask all of them now; None for one that does not answer."""
        asked = {site: self._pool.submit(self._ask, site) for site in self._agents}
        wait(asked.values(), timeout=2 * PATIENCE)
        return {site: one.result() if one.done() else None for site, one in asked.items()}

    def shown(self) -> dict[str, Any]:
        """Return the contacts as the API tells them."""
        now = steady()
        return {
            site: {
                "reached": one.reached,
                "ago": None if one.at is None else round(now - one.at, 3),
                "epoch": one.epoch if one.at is not None else None,
                "glass": one.glass,
                "isolation": one.isolation,
                "error": one.error,
            }
            for site, one in self._contacts.items()
        }

    def _ask_for_ever(self, site: str) -> None:
        while not self._stopping.is_set():
            began = time.monotonic()
            self._ask(site)
            self._stopping.wait(max(0.05, EVERY - (time.monotonic() - began)))

    def _ask(self, site: str) -> Answer | None:
        before, began = self._contacts[site], steady()
        try:
            told = self._agents[site].seen(PATIENCE)
            database = told["database"]
            process, is_standby = str(database["process"]), bool(database["standby_signal"])
            token, glass = str(database.get("demotion_token") or ""), bool(told["glass"])
            answer = Answer(int(told["epoch"]), int(database["primary_epoch"]), process, is_standby, token)
            isolation = None if told.get("isolation") is None else float(told["isolation"])
        except (FlotillaError, KeyError, TypeError, ValueError) as error:
            self._contacts[site] = replace(before, reached=False, error=str(error))
            return None
        said = Contact(True, began, answer.epoch, answer.primary_epoch, "", glass)
        self._contacts[site] = replace(said, is_standby=is_standby, isolation=isolation)
        return answer
