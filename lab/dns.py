"""One DNS question by UDP, RFC 1035: enough to know whether a cluster's DNS serves."""

from __future__ import annotations

import secrets
import socket
import struct

_KUBERNETES = "kubernetes.default.svc.cluster.local"
_RECURSION_DESIRED = 0x0100
A, TXT = 1, 16
_IN = 1


def answers(server: str, name: str = _KUBERNETES, kind: int = A, *, timeout: float = 1) -> bool:
    """Tell whether a server has a record of a name: without one, of the API server's Service, which every cluster has."""
    number, reply = _asked(server, name, kind, timeout)
    return is_answer(reply, number)


def replies(server: str, name: str, *, timeout: float = 1) -> bool:
    """Tell whether a server says anything to a question, be it that it does not know."""
    number, reply = _asked(server, name, A, timeout)
    return reply[:2] == struct.pack(">H", number)


def _asked(server: str, name: str, kind: int, timeout: float) -> tuple[int, bytes]:
    """Ask a server; return the question's number and the reply, empty where there is none in time."""
    number = secrets.randbelow(1 << 16)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(timeout)
        try:
            client.sendto(question(number, name, kind), (server, 53))
            return number, client.recv(4096)
        except OSError:
            return number, b""


def question(number: int, name: str, kind: int = A) -> bytes:
    """Ask for the records of a name, its IPv4 addresses if no other kind is given."""
    header = struct.pack(">6H", number, _RECURSION_DESIRED, 1, 0, 0, 0)
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return header + labels + b"\0" + struct.pack(">2H", kind, _IN)


def is_answer(reply: bytes, number: int) -> bool:
    """Tell whether a reply belongs to the question, has no error code, and holds an answer."""
    if len(reply) < 12:
        return False
    seen, flags, _, found, _, _ = struct.unpack_from(">6H", reply)
    return seen == number and bool(flags & 0x8000) and not flags & 0x000F and found > 0
