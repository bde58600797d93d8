"""When the certificates that servers show end: looked at without trusting them, as one that has ended is to be told too."""

from __future__ import annotations

import socket
import ssl
from struct import pack

from cryptography import x509

from flotilla.errors import Transient

_TLS_PLEASE = pack("!ii", 8, 80877103)  # PostgreSQL's SSLRequest (protocol-message-formats.html)


def ends(host: str, port: int, *, postgres: bool = False, within: float = 2.0) -> float:
    """Return when the certificate at an address ends, in seconds since 1970; PostgreSQL is asked for TLS first.

    Raises Transient where nobody shows one within so many seconds.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((host, port), within) as line:
            if postgres:
                line.sendall(_TLS_PLEASE)
                if line.recv(1) != b"S":
                    raise Transient(f"{host}:{port}: PostgreSQL there offers no TLS")
            with context.wrap_socket(line, server_hostname=host) as shown:
                certificate = shown.getpeercert(binary_form=True)
    except OSError as error:
        raise Transient(f"{host}:{port} shows no certificate: {error}") from None
    if certificate is None:
        raise Transient(f"{host}:{port} shows no certificate")
    return x509.load_der_x509_certificate(certificate).not_valid_after_utc.timestamp()
