"""Three real PowerDNS on loopback, as the lab starts them, and the sites whose health they check."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from flotilla.traffic.records import records
from flotilla.traffic.service import AUTO, Desired, Mode, Service, Site
from lab import dnsservers
from lab.dnsservers import Listening
from tasks.powerdns import Place, PowerDns, Zone
from tasks.traffic import Server
from tasks.trust import trusted
from tests.metrics.programs import free_port, until

ZONE = Zone("fleet.test.", {"ns1.fleet.test.": "127.0.0.1"})
ADDRESSES = {"production": "127.0.0.11", "same-city": "127.0.0.12", "remote": "127.0.0.13"}
CITY, REMOTE = frozenset({"production", "same-city"}), frozenset({"remote"})


def city(epoch: int, mode: Mode = AUTO) -> Desired:
    return Desired(epoch, "production", CITY, mode)


@dataclass
class Nameserver:
    """One server: a process that can be killed and started again, and Flotilla's way to it."""

    site: str
    folder: Path
    listening: Listening
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def asked(self) -> Server:
        return Server(self.site, self.listening.address, self.listening.port)

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.listening.api_port}"

    @property
    def headers(self) -> dict[str, str]:
        return {"X-API-Key": dnsservers.key_file(self.folder).read_text()}

    def powerdns(self, api: str | None = None) -> PowerDns:
        dns = (self.listening.address, self.listening.port)
        return PowerDns(Place(self.site, api or self.api, self.headers["X-API-Key"], dns), ZONE)

    def start(self) -> None:
        dnsservers.prepare(self.folder, self.listening, print)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(dnsservers.command(self.folder, print), stdout=log, stderr=log)
        until(self._answers, f"an answer of {self.api}")

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
        self.process = None

    def patch(self, *rrsets: dict[str, Any]) -> int:
        """Write past Flotilla; return the status."""
        path = f"{self.api}/api/v1/servers/localhost/zones/{ZONE.name}"
        return httpx.patch(path, headers=self.headers, json={"rrsets": rrsets}, trust_env=False, verify=trusted()).status_code

    def _answers(self) -> bool:
        assert self.process
        assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
        try:
            return httpx.get(f"{self.api}/api/v1/servers", headers=self.headers, trust_env=False, verify=trusted()).is_success
        except httpx.HTTPError:
            return False


class Sites:
    """What the servers check: an HTTP server an address; ``ill`` are the sites that say 503."""

    def __init__(self) -> None:
        self.ill: set[str] = set()
        self.port = free_port()
        self._servers = [self._serving(name, address) for name, address in ADDRESSES.items()]

    @property
    def service(self) -> Service:
        sites = tuple(Site(name, address, "b" if name == "remote" else "a") for name, address in ADDRESSES.items())
        return Service("orders.fleet.test.", ZONE.name, sites, self.port)

    def stop(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def _serving(self, name: str, address: str) -> ThreadingHTTPServer:
        ill = self.ill

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(503 if name in ill or self.path != "/dr/serving" else 200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer((address, self.port), Handler)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return server


@dataclass
class Stand:
    """Three servers and three sites."""

    servers: dict[str, Nameserver]
    sites: Sites

    @property
    def service(self) -> Service:
        return self.sites.service

    @property
    def asked(self) -> list[Server]:
        return [server.asked for server in self.servers.values()]

    def wanted(self, desired: Desired) -> list[dict[str, object]]:
        return [record.as_dict() for record in records(self.service, desired)]

    def publish(self, desired: Desired) -> None:
        for server in self.servers.values():
            server.powerdns().set(ZONE.name, self.wanted(desired))


@contextmanager
def three_servers(folder: Path) -> Iterator[Stand]:
    sites = Sites()
    with ExitStack() as ends:
        ends.callback(sites.stop)
        servers = {
            name: Nameserver(name, folder / name, Listening("127.0.0.1", free_port(), free_port())) for name in ADDRESSES
        }
        for server in servers.values():
            ends.callback(server.kill)
            server.start()
        yield Stand(servers, sites)
