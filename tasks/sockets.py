"""Websockets to API servers: exec and port-forward."""

from __future__ import annotations

import ssl
from typing import Any
from urllib.parse import urlsplit

import websocket

from tasks.clusters import Connection


def open_socket(connection: Connection, path: str, timeout: float) -> Any:
    """Return a websocket to an API server; ``timeout`` seconds to connect, and to wait for each message.

    The kubernetes library's own sets no time limit to connecting. Raises WebSocketException or OSError.
    """
    settings = connection.api.configuration
    headers: dict[str, str] = {}
    connection.api.update_params_for_auth(headers, [], ["BearerToken"])
    proxy = urlsplit(settings.proxy) if settings.proxy else None
    return websocket.create_connection(
        f"ws{settings.host.removeprefix('http')}{path}",
        timeout=timeout,
        header=headers,
        subprotocols=["v4.channel.k8s.io"],
        sslopt={"context": connection.remembered(("tls context",), lambda: _tls(settings))},
        http_proxy_host=proxy.hostname if proxy else None,
        http_proxy_port=proxy.port if proxy else None,
        http_no_proxy=None if proxy else ["*"],
    )


def _tls(settings: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=settings.ssl_ca_cert)
    if not settings.verify_ssl:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if settings.cert_file:
        context.load_cert_chain(settings.cert_file, settings.key_file)
    return context
