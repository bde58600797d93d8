"""What serves the fleet as a whole, beside the sites: the store of all samples. Its data stays until the lab is taken down."""

from __future__ import annotations

from http import HTTPStatus
from http.client import HTTPConnection, HTTPException

from lab import processes
from lab.binaries import Binaries
from lab.commands import wait_until
from lab.layout import Hub
from lab.processes import Life

_PATIENCE = 30  # seconds; below 1 is usual


def ensure(hub: Hub, binaries: Binaries) -> None:
    """Have every part running and answering."""
    for part in hub.parts:
        start(hub, part, binaries)


def start(hub: Hub, part: str, binaries: Binaries) -> None:
    """Have one part running and answering."""
    hub.directory.mkdir(parents=True, exist_ok=True)
    (hub.directory / "url").write_text(hub.store)
    if processes.life(hub, part) is Life.DEAD:
        processes.start(hub, part, [str(binaries[part]), *flags(hub)])
    wait_until(f"an answer of {part}", lambda: not_ready(hub), within=_PATIENCE)


def not_ready(hub: Hub) -> str:
    """Say why the store does not answer, or nothing."""
    connection = HTTPConnection("127.0.0.1", hub.store_port, timeout=2)
    try:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        return "" if answer.status == HTTPStatus.OK else f"the store answers {answer.status}"
    except (OSError, HTTPException) as error:
        return f"{hub.store} does not answer: {error}"
    finally:
        connection.close()


def flags(hub: Hub) -> list[str]:
    """Return how the store is started."""
    flags = {
        "httpListenAddr": f"127.0.0.1:{hub.store_port}",
        "storageDataPath": hub.directory / "samples",
        "retentionPeriod": "30d",
        # A sample that is sent again is one sample (the same timestamp), whatever was lost on the way to its answer.
        "dedup.minScrapeInterval": "1ms",
        "search.latencyOffset": "0s",
        "memory.allowedBytes": "512MB",
        "loggerLevel": "WARN",
    }
    return [f"-{name}={value}" for name, value in flags.items()]
