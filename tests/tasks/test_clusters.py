"""How clusters are reached: contexts, credentials plugins, proxies, Secrets; and what is said when they are not."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import urllib3
import yaml

from flotilla.errors import InvalidInput, Permanent, Transient
from flotilla.fleet import Cluster, Role, Site
from tasks.clusters import Answer, connect, forget_connections, refused, unreachable


class Recorder(BaseHTTPRequestHandler):
    """Answers every request with what it was sent: path, token and whether it came as a proxy request."""

    def do_GET(self) -> None:
        body = json.dumps({"path": self.path, "authorization": self.headers.get("Authorization", "")}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def recorder() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that writes a kubeconfig with one context and makes it the current one."""
    forget_connections()

    def write(server: str, user: dict[str, Any] | None = None, **cluster: Any) -> Path:
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "contexts": [{"name": "production", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
            "users": [{"name": "u", "user": user or {}}],
        }
        path = tmp_path / "kubeconfig"
        path.write_text(yaml.safe_dump(document))
        monkeypatch.setenv("KUBECONFIG", str(path))
        return path

    yield write
    forget_connections()


def cluster(name: str = "production", **kubeconfig: Any) -> Cluster:
    return Cluster(name=name, role=Role.PRODUCTION, site=Site(name="a", city="b"), kubeconfig=kubeconfig)


def test_a_missing_context_is_answered_with_those_there_are(kubeconfig):
    kubeconfig("http://127.0.0.1:1")

    with pytest.raises(InvalidInput, match=r"'elsewhere'; allowed: one of production"):
        connect(cluster(context="elsewhere"))


def test_a_missing_file_is_named(kubeconfig, tmp_path):
    with pytest.raises(InvalidInput, match="absent"):
        connect(cluster(file=str(tmp_path / "absent")))


def test_a_file_that_is_no_kubeconfig_is_refused(kubeconfig, tmp_path):
    (tmp_path / "odd").write_text("a: [")

    with pytest.raises(InvalidInput, match="odd"):
        connect(cluster(file=str(tmp_path / "odd")))


def test_a_server_that_refuses_is_transient_and_named(kubeconfig):
    kubeconfig("http://127.0.0.1:1")

    with pytest.raises(Transient, match=r"production: http://127\.0\.0\.1:1 does not answer"):
        connect(cluster()).request("GET", "/version")


def test_a_server_that_is_silent_is_told_without_the_librarys_objects():
    pool = urllib3.HTTPSConnectionPool("api", 6443)
    error = urllib3.exceptions.ConnectTimeoutError(pool, "Connection to api timed out. (connect timeout=5.0)")

    told = str(unreachable("remote", "https://api:6443", error))

    assert "remote: https://api:6443 does not answer: Connection to api timed out. (connect timeout=5.0)" == told


class BreaksOff(BaseHTTPRequestHandler):
    """Answers in chunks, and leaves the last one out as often as it is told to."""

    protocol_version = "HTTP/1.1"
    left = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"5\r\nhello\r\n" + (b"" if type(self).left else b"0\r\n\r\n"))
        type(self).left = max(0, type(self).left - 1)
        self.close_connection = True

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize("times", [0, 1, 2, 3])
def test_what_the_proxy_of_an_api_server_breaks_off_is_asked_for_again_and_at_last_told(kubeconfig, times):
    server = ThreadingHTTPServer(("127.0.0.1", 0), BreaksOff)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    kubeconfig(f"http://127.0.0.1:{server.server_address[1]}")
    BreaksOff.left = times
    try:
        if times < 3:
            assert b"hello" == connect(cluster()).exchange("POST", "/proxy", content=b"x", headers={}, timeout=5).content
        else:
            with pytest.raises(Transient, match="production: the answer of http://.* is cut off"):
                connect(cluster()).exchange("POST", "/proxy", content=b"x", headers={}, timeout=5)
    finally:
        server.shutdown()
        server.server_close()


def test_requests_go_through_the_proxy_that_the_kubeconfig_names(kubeconfig, recorder):
    kubeconfig("http://api.fleet.invalid", **{"proxy-url": recorder})

    answer = connect(cluster()).request("GET", "/version")

    assert "http://api.fleet.invalid/version" == answer.body["path"]


def test_the_token_of_a_credentials_plugin_is_sent(kubeconfig, recorder):
    credential = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "t0ken"}}
    script = f"print({json.dumps(json.dumps(credential))})"
    plugin = {
        "apiVersion": credential["apiVersion"],
        "command": sys.executable,
        "args": ["-c", script],
        "interactiveMode": "Never",
    }
    kubeconfig(recorder, {"exec": plugin})

    assert "Bearer t0ken" == connect(cluster()).request("GET", "/version").body["authorization"]


def test_a_credentials_plugin_that_fails_stops_before_anything_is_sent_anonymously(kubeconfig, recorder):
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": "false", "interactiveMode": "Never"}
    kubeconfig(recorder, {"exec": plugin})

    with pytest.raises(Permanent, match="exec plugin of user 'u' .* gave no credentials; try it: false"):
        connect(cluster())


def test_a_secret_is_only_read_from_inside_a_cluster(kubeconfig):
    with pytest.raises(Permanent, match="secret flotilla/production"):
        connect(cluster(secret={"namespace": "flotilla", "name": "production"}))


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (429, "too many requests", Transient),
        (503, "starting", Transient),
        (500, "etcdserver: leader changed", Transient),
        (500, "failed to create typed patch object: .data.dta: field not declared in schema", Permanent),
        (500, "failed to create typed patch object: .data.a: expected string, got 1", Permanent),
        (403, "is forbidden", Permanent),
        (422, "field is immutable", Permanent),
    ],
)
def test_only_what_may_pass_by_itself_is_transient(status, message, kind):
    error = refused("production", "apply ConfigMap a/b", Answer(status, {"message": message}, {}))

    assert isinstance(error, kind)
    assert "production: could not apply ConfigMap a/b" in str(error)


FORBIDDEN = [
    ('configmaps "m" is forbidden: User "u" cannot patch resource "configmaps"', True),
    ('configmaps "m" is forbidden: unable to create new content in namespace n because it is being terminated', False),
    ('admission webhook "policy.example.com" denied the request: no', False),
]


@pytest.mark.parametrize(("message", "advised"), FORBIDDEN)
def test_a_right_is_advised_only_where_one_is_missing(message, advised):
    error = refused("production", "apply ConfigMap a/b", Answer(403, {"message": message}, {}))

    assert advised == ("give the account this right" in str(error))
