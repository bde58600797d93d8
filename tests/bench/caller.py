"""A client that opens a new connection every few milliseconds; run inside a pod's network, told what to do on its input.

    {"name": "web.shop.svc.clusterset.local", "every": 0.02, "dns": "10.0.0.10"}      begin; {} ends it

Each attempt asks the cluster's DNS, connects and asks for /hostname; an attempt whose name is not found goes to the address
that it had last, as a client with a cache would. A line for each attempt: begun, ended, whether the name was found, whether
it was answered, what was said. Times are of the machine's monotonic clock.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import dns.asyncquery
import dns.exception
import dns.message
import dns.rdatatype

PORT = 80
PATIENCE = 1.0  # seconds for an attempt as a whole


class Caller:
    """Attempts side by side, each begun on time whatever became of those before."""

    def __init__(self) -> None:
        self._asked: dict[str, Any] = {}
        self._known: dict[str, str] = {}
        self._running: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Go on until the input ends."""
        loop = asyncio.get_running_loop()
        reading = asyncio.create_task(self._read(loop))
        print(json.dumps({"ready": True}), flush=True)
        due = time.monotonic()
        while not reading.done():
            now = time.monotonic()
            if self._asked:
                task = asyncio.create_task(self._attempt(dict(self._asked), now))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
            due = max(due + self._asked.get("every", 0.005), now)
            await asyncio.sleep(due - time.monotonic())

    async def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            self._asked = json.loads(line)

    async def _attempt(self, asked: dict[str, Any], begun: float) -> None:
        found, said = False, ""
        try:
            async with asyncio.timeout(PATIENCE):
                address = await _resolved(asked["name"], asked["dns"])
                found = bool(address)
                self._known[asked["name"]] = address or self._known.get(asked["name"], "")
                said = await _answer(self._known[asked["name"]]) if self._known[asked["name"]] else "!no such name"
        except (OSError, TimeoutError, dns.exception.DNSException) as error:
            said = f"!{type(error).__name__} {error}"
        answered = bool(said) and not said.startswith("!")
        print(json.dumps([asked["name"], begun, time.monotonic(), found, answered, said]), flush=True)


async def _resolved(name: str, server: str) -> str:
    answer = await dns.asyncquery.udp(dns.message.make_query(name, dns.rdatatype.A), server)
    found = [item.to_text() for rrset in answer.answer for item in rrset if rrset.rdtype == dns.rdatatype.A]
    return found[0] if found else ""


async def _answer(address: str) -> str:
    reader, writer = await asyncio.open_connection(address, PORT)
    try:
        writer.write(b"GET /hostname HTTP/1.0\r\n\r\n")
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
        return body if " 200 " in head.partition("\r\n")[0] else f"!{head[:80]}"
    finally:
        writer.close()


if __name__ == "__main__":
    asyncio.run(Caller().run())
