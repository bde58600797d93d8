"""What serves the fleet as a whole, beside the sites: the store of all samples, the rules over it, and who is told of alerts.

Their data stays until the lab is taken down.
"""

from __future__ import annotations

import json
import secrets
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from flotilla.dashboards.parsing import parse_dashboards
from flotilla.dashboards.vmui import vmui_dashboard
from lab import processes
from lab.binaries import Binaries
from lab.commands import wait_until
from lab.layout import Hub
from lab.processes import Life

_PATIENCE = 30  # seconds; below 1 is usual
_DEPLOYMENTS = Path(__file__).parent.parent / "deployments"
_RULES, _PAGES = _DEPLOYMENTS / "rules", _DEPLOYMENTS / "dashboards"
_READY = {"victoria-metrics": "/health", "alertmanager": "/-/ready", "vmalert": "/health"}


def ensure(hub: Hub, binaries: Binaries) -> None:
    """Have every part running and answering."""
    for part in hub.parts:
        start(hub, part, binaries)


def start(hub: Hub, part: str, binaries: Binaries) -> None:
    """Have one part running and answering."""
    _write(hub)
    if processes.life(hub, part) is Life.DEAD:
        flags = [f"-{name}={value}" for name, value in _flags(hub, part).items()]
        processes.start(hub, part, [str(binaries[part]), *flags])
    wait_until(f"an answer of {part}", lambda: _silent(hub, part), within=_PATIENCE)


def not_ready(hub: Hub) -> str:
    """Say which parts do not answer, or nothing."""
    return "; ".join(filter(None, (_silent(hub, part) for part in hub.parts)))


def _silent(hub: Hub, part: str) -> str:
    connection = HTTPConnection("127.0.0.1", hub.port(part), timeout=2)
    try:
        connection.request("GET", _READY[part])
        answer = connection.getresponse()
        return "" if answer.status == HTTPStatus.OK else f"{part} answers {answer.status}"
    except (OSError, HTTPException) as error:
        return f"{part} at {hub.url(part)} does not answer: {error}"
    finally:
        connection.close()


def _write(hub: Hub) -> None:
    """Have the files by which others find the store, and the token that whoever takes the alerts asks for."""
    hub.directory.mkdir(parents=True, exist_ok=True)
    (hub.directory / "url").write_text(hub.store)
    (hub.directory / "receiver").write_text(hub.receiver)
    if not hub.token.exists():
        hub.token.touch(mode=0o600)
        hub.token.write_text(secrets.token_hex(16))
    _write_pages(hub)
    (hub.directory / "alertmanager.json").write_text(json.dumps(_alertmanager(hub), indent=2))


def _write_pages(hub: Hub) -> None:
    """Have the dashboards where the store's own UI looks for them."""
    pages = parse_dashboards({str(file): file.read_text() for file in sorted(_PAGES.glob("*.yaml"))})
    folder = hub.directory / "dashboards"
    folder.mkdir(exist_ok=True)
    for file, page in pages.items():
        (folder / f"{Path(file).stem}.json").write_text(json.dumps(vmui_dashboard(page)))


def _alertmanager(hub: Hub) -> dict[str, object]:
    """Return Alertmanager's settings: all goes to one receiver, again and again: what is told twice starts nothing twice."""
    token = {"type": "Bearer", "credentials_file": str(hub.token)}
    webhook = {"url": f"http://{hub.receiver}/alerts", "http_config": {"authorization": token}}
    pace = {"group_wait": "0s", "group_interval": "15s", "repeat_interval": "1m"}
    return {
        "route": {"receiver": "flotilla", "group_by": ["alertname", "cluster"], **pace},
        "receivers": [{"name": "flotilla", "webhook_configs": [webhook]}],
    }


def _flags(hub: Hub, part: str) -> dict[str, object]:
    address = f"127.0.0.1:{hub.port(part)}"
    if part == "alertmanager":
        return {
            "-config.file": hub.directory / "alertmanager.json",
            "-storage.path": hub.directory / "alerts",
            "-web.listen-address": address,
            "-cluster.listen-address": "",  # it is the only one
            "-log.level": "warn",
        }
    if part == "vmalert":
        return {
            "httpListenAddr": address,
            "datasource.url": hub.store,
            "remoteWrite.url": hub.store,
            "remoteRead.url": hub.store,  # after a start it knows since when an alert has been on its way
            "notifier.url": hub.url("alertmanager"),
            "rule": _RULES / "*.yaml",
            "evaluationInterval": "15s",
            "configCheckInterval": "5s",
            "loggerLevel": "WARN",
        }
    return {
        "httpListenAddr": address,
        "storageDataPath": hub.directory / "samples",
        "retentionPeriod": "30d",
        # A sample that is sent again is one sample (the same timestamp), whatever was lost on the way to its answer.
        "dedup.minScrapeInterval": "1ms",
        "search.latencyOffset": "0s",
        "memory.allowedBytes": "512MB",
        "vmui.customDashboardsPath": hub.directory / "dashboards",
        "vmalert.proxyURL": hub.url("vmalert"),  # its UI shows rules and alerts
        "loggerLevel": "WARN",
    }
