"""From a cluster's name to a client: the one reader of kubeconfigs, and the one place that speaks HTTP to API servers."""

from __future__ import annotations

import base64
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import urllib3
import yaml
from kubernetes import client, config
from kubernetes.config import kube_config

from flotilla.errors import InvalidInput, Permanent, Problem, Transient, phrase
from flotilla.fleet import Cluster, Kubeconfig, SecretRef
from tasks.answers import Answer, Cut, Reply, is_retriable, refused, short, unreachable
from tasks.streams import Stream

__all__ = ["Answer", "Connection", "connect", "forget_connections", "is_retriable", "refused", "unreachable"]

CONNECT_TIMEOUT = 5.0  # seconds; an API server that does not take a connection by then is away
Found = TypeVar("Found")
READ_TIMEOUT = 30.0  # seconds; an admission webhook may take up to 30

POOL = 24  # connections kept per cluster: the workers of a fan-out and a few watches; fewer reconnect, at twice the CPU
BROKEN_OFF = 3  # times that an answer through the proxy may be cut off


class Connection:
    """An open way to one cluster; safe to use from several threads."""

    def __init__(self, name: str, api: client.ApiClient) -> None:
        self.name = name
        self.api = api
        self._memory: dict[tuple[str, ...], Any] = {}

    def remembered(self, key: tuple[str, ...], look: Callable[[], Found | None]) -> Found | None:
        """Return what ``look`` found for a key the first time that it found anything."""
        if key not in self._memory:
            found = look()
            if found is None:
                return None
            self._memory[key] = found
        kept: Found = self._memory[key]
        return kept

    def forget(self, key: tuple[str, ...]) -> None:
        """Look again the next time."""
        self._memory.pop(key, None)

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        timeout: float = READ_TIMEOUT,
    ) -> Answer:
        """Return what the API server answers, whatever the status; ``body`` is sent as JSON.

        Raises Transient where no answer came (refused, cut, timed out after ``timeout`` seconds) and Permanent where
        none can come (TLS trust, unknown credentials plugin).
        """
        headers = {"Accept": accept, "Content-Type": content_type}
        response = self._sent(method, path, headers, query=query, body=body, timeout=timeout)
        return Answer(response.status, _decoded(response.data), response.headers)

    def exchange(
        self, method: str, path: str, *, content: bytes | None = None, headers: Mapping[str, str], timeout: float
    ) -> Reply:
        """Return what is answered to bytes, whatever the status: for what stands behind the API server's proxy, and is read.

        The proxy now and then breaks off where the answer ends ("ReverseProxy read error during body copy: use of closed
        network connection", of 1.37 one in a hundred): asked again at once. Raises what ``request`` raises.
        """
        sent = _now()
        for left in reversed(range(BROKEN_OFF)):
            try:
                response = self._sent(method, path, headers, query=None, body=content, timeout=timeout)
                break
            except Cut:
                if not left:
                    raise
        return Reply(response.status, response.data, response.headers, sent, _now())

    def stream(self, path: str, *, query: Mapping[str, str], timeout: float) -> Stream | Answer:
        """Return the lines that a GET is answered with, as they come; an Answer where its status is not 200.

        ``timeout`` is the longest silence, in seconds. Raises what ``request`` raises.
        """
        headers = {"Accept": "application/json"}
        response = self._sent("GET", path, headers, query=query, body=None, timeout=timeout, whole=False)
        if response.status == 200:
            return Stream(response, self._unreachable)
        try:
            return Answer(response.status, _decoded(response.data), response.headers)
        except urllib3.exceptions.HTTPError as error:
            raise self._unreachable(error) from None
        finally:
            response.close()

    def _sent(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        *,
        query: Mapping[str, str] | None,
        body: object,
        timeout: float,
        whole: bool = True,
    ) -> urllib3.BaseHTTPResponse:
        told = {**headers, "User-Agent": "flotilla"}
        fields = list((query or {}).items())
        self.api.update_params_for_auth(told, fields, ["BearerToken"])
        url = self.api.configuration.host + path + (f"?{urlencode(fields)}" if fields else "")
        try:
            response: urllib3.BaseHTTPResponse = self.api.rest_client.pool_manager.request(
                method,
                url,
                body=body if body is None or isinstance(body, bytes) else json.dumps(body).encode(),
                headers=told,
                timeout=urllib3.Timeout(connect=min(CONNECT_TIMEOUT, timeout), read=timeout),
                retries=False,
                preload_content=whole,
            )
        except urllib3.exceptions.HTTPError as error:
            raise self._unreachable(error) from None
        return response

    def _unreachable(self, error: Exception) -> Transient | Permanent:
        return unreachable(self.name, self.api.configuration.host, error)


_connections: dict[tuple[object, ...], Connection] = {}
_connecting = threading.Lock()


def connect(cluster: Cluster) -> Connection:
    """Return the connection to a cluster, made once per process and source; nothing is sent yet.

    Raises InvalidInput where the kubeconfig does not hold what the fleet file names, Permanent where an exec plugin
    gives no credentials, Transient where the Secret that holds the kubeconfig could not be read.
    """
    source = os.environ.get("KUBECONFIG", "")
    key = (cluster.name, cluster.kubeconfig, source)
    with _connecting:
        if key not in _connections:
            _connections[key] = Connection(cluster.name, client.ApiClient(_configuration(cluster)))
        return _connections[key]


def forget_connections() -> None:
    """Close every connection, so that the next `connect` reads the kubeconfigs again."""
    with _connecting:
        for connection in _connections.values():
            connection.api.rest_client.pool_manager.clear()
        _connections.clear()


def _configuration(cluster: Cluster) -> client.Configuration:
    """Return the client's settings for a cluster, those that kubernetes 36 leaves out (proxy-url) included."""
    source, document = _kubeconfig(cluster)
    context = _context(cluster, source, document)
    settings = client.Configuration()
    settings.connection_pool_maxsize = POOL
    settings.retries = urllib3.Retry(0)
    _load(settings, cluster, document, context)
    user = _named(document, "users", context["user"], "user")
    if "exec" in user and not (settings.api_key or settings.cert_file):
        command = " ".join([user["exec"].get("command", "?"), *(user["exec"].get("args") or [])])
        raise Permanent(
            f"{cluster.name}: the exec plugin of user {context['user']!r} in {source} gave no credentials; try it: {command}"
        )
    if proxy := _named(document, "clusters", context["cluster"], "cluster").get("proxy-url"):
        settings.proxy, settings.no_proxy = proxy, None
    return settings


def _load(settings: client.Configuration, cluster: Cluster, document: dict[str, Any], context: Mapping[str, str]) -> None:
    """Fill in host, trust and credentials by the client library's own rules."""
    options = {"context": context["name"], "client_configuration": settings, "persist_config": False}
    try:
        if cluster.kubeconfig.secret:
            config.load_kube_config_from_dict(document, **options)
        else:  # from the files, since what they name relatively is relative to each of them
            config.load_kube_config(_paths(cluster.kubeconfig), **options)
    except (config.ConfigException, ValueError, OSError) as error:
        raise Permanent(f"{cluster.name}: the kubeconfig's context {context['name']!r} cannot be used: {error}") from None


def _kubeconfig(cluster: Cluster) -> tuple[str, dict[str, Any]]:
    """Return where the kubeconfig stands and what it says; several files of KUBECONFIG are merged as kubectl does."""
    access = cluster.kubeconfig
    if access.secret:
        return f"secret {access.secret.namespace}/{access.secret.name}", _from_secret(cluster.name, access.secret)
    paths = _paths(access)
    if not any(Path(path).is_file() for path in paths.split(os.pathsep)):
        field = f"kubeconfig.file of cluster {cluster.name!r}"
        raise InvalidInput([Problem("fleet", field, paths, "a file that exists; or set KUBECONFIG")])
    try:
        return paths, _plain(kube_config.KubeConfigMerger(paths).config)
    except (config.ConfigException, yaml.YAMLError) as error:
        raise InvalidInput([Problem(paths, "", phrase(short(error)), "a kubeconfig")]) from None


def _paths(access: Kubeconfig) -> str:
    """Return the kubeconfig files that are meant, as one text in the form of the KUBECONFIG variable."""
    paths = access.file or os.environ.get("KUBECONFIG") or "~/.kube/config"
    return os.pathsep.join(str(Path(path).expanduser()) for path in paths.split(os.pathsep))


def _plain(node: Any) -> Any:
    """Return the client library's view of merged kubeconfigs as dicts and lists."""
    value = getattr(node, "value", node)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _context(cluster: Cluster, source: str, document: dict[str, Any]) -> dict[str, str]:
    """Return name, cluster and user of the context that is meant."""
    access = cluster.kubeconfig
    wanted = access.context or (document.get("current-context") if access.secret else cluster.name)
    contexts = {entry["name"]: entry["context"] for entry in document.get("contexts") or []}
    if wanted not in contexts:
        field = f"context of cluster {cluster.name!r} (kubeconfig.context, else its name)"
        raise InvalidInput(
            [Problem(source, field, wanted, "one of " + (", ".join(sorted(contexts)) or "none: it has no contexts"))]
        )
    return {"name": wanted, "cluster": contexts[wanted]["cluster"], "user": contexts[wanted].get("user", "")}


def _named(document: dict[str, Any], section: str, name: str, key: str) -> dict[str, Any]:
    return next((entry.get(key) or {} for entry in document.get(section) or [] if entry["name"] == name), {})


def _from_secret(cluster: str, ref: SecretRef) -> dict[str, Any]:
    """Return the kubeconfig that a Secret of the cluster holds in which this process runs."""
    where = f"secret {ref.namespace}/{ref.name}, key {ref.key!r}"
    settings = client.Configuration()
    try:
        config.load_incluster_config(client_configuration=settings)
    except config.ConfigException as error:
        raise Permanent(f"{cluster}: {where} is read from inside a cluster, and this is not one: {error}") from None
    hub = Connection("in-cluster", client.ApiClient(settings))
    answer = hub.request("GET", f"/api/v1/namespaces/{ref.namespace}/secrets/{ref.name}")
    if answer.status != 200:
        raise refused(cluster, f"read {where}", answer)
    held = answer.body.get("data") or {}
    if ref.key not in held:
        raise InvalidInput([Problem(where, "key", ref.key, "one of " + ", ".join(sorted(held)))])
    document = yaml.safe_load(base64.b64decode(held[ref.key]))
    if not isinstance(document, dict):
        raise InvalidInput([Problem(where, "", phrase("is not a kubeconfig"), "a kubeconfig")])
    return document


def _now() -> int:
    return time.time_ns() // 1_000_000


def _decoded(data: bytes) -> Any:
    if not data:
        return {}
    try:
        return json.loads(data)
    except ValueError:
        return data.decode(errors="replace")
