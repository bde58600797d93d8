"""What a cluster's own DNS answers: asked at one of its DNS pods, through the API server (port-forward, DNS over TCP)."""

from __future__ import annotations

import struct
from typing import Any

import dns.exception
import dns.message
import dns.rcode
import dns.rdatatype
import websocket

from flotilla.errors import FlotillaError
from flotilla.facts import Unknown
from flotilla.objects import Manifest
from flotilla.services.facts import DnsFact
from tasks.clusters import Connection, refused
from tasks.sockets import open_socket

ZONE = "svc.clusterset.local"
PATIENCE = 5.0  # seconds for one question
DATA, ERROR = 0, 1  # channels of a forwarded port (k8s.io/kubelet pkg/cri/streaming/portforward)
SLICES = "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices"


def ask_dns(connection: Connection, name: str) -> DnsFact | Unknown:
    """Return the addresses that a cluster's DNS has for a name (A and AAAA), or why it could not be asked."""
    try:
        pods = _dns_pods(connection)
        if not pods:
            return Unknown(connection.name, "no pod of Service kube-system/kube-dns is ready")
        answers = [_asked(connection, pods[0], name, kind) for kind in (dns.rdatatype.A, dns.rdatatype.AAAA)]
    except (FlotillaError, websocket.WebSocketException, OSError, dns.exception.DNSException) as error:
        return Unknown(connection.name, f"its DNS: {str(error) or type(error).__name__}"[:300])
    addresses = [record.address for answer in answers for rrset in answer.answer for record in _addresses(rrset)]
    return DnsFact(tuple(addresses), "" if addresses else dns.rcode.to_text(answers[0].rcode()))


def _dns_pods(connection: Connection) -> list[str]:
    answer = connection.request("GET", SLICES, query={"labelSelector": "kubernetes.io/service-name=kube-dns"}, timeout=10)
    if answer.status != 200:
        raise refused(connection.name, "list the endpoints of kube-dns", answer)
    ends: list[Manifest] = [end for piece in answer.body["items"] for end in piece.get("endpoints") or ()]
    ready = [end for end in ends if (end.get("conditions") or {}).get("ready") is not False]
    return [end["targetRef"]["name"] for end in ready if (end.get("targetRef") or {}).get("kind") == "Pod"]


def _asked(connection: Connection, pod: str, name: str, kind: dns.rdatatype.RdataType) -> dns.message.Message:
    question = dns.message.make_query(name, kind)
    wire = question.to_wire()
    path = f"/api/v1/namespaces/kube-system/pods/{pod}/portforward?ports=53"
    socket = open_socket(connection, path, PATIENCE)
    try:
        socket.send_binary(bytes([DATA]) + struct.pack(">H", len(wire)) + wire)
        reply = _reply(socket)
    finally:
        socket.shutdown()
    answer = dns.message.from_wire(reply)
    if not question.is_response(answer):
        raise OSError("the answer is to another question")
    return answer


def _reply(socket: Any) -> bytes:
    """Return the one message that comes back: its length in two bytes, then itself."""
    ports, data = set[int](), b""
    while len(data) < 2 or len(data) < 2 + struct.unpack(">H", data[:2])[0]:
        _, frame = socket.recv_data()
        if not frame:
            raise OSError("the connection ended before the answer")
        channel, piece = frame[0], frame[1:]
        if channel not in ports:  # each channel begins with the number of its port
            ports.add(channel)
            piece = piece[2:]
        if channel == ERROR and piece:
            raise OSError(piece.decode(errors="replace"))
        data += piece if channel == DATA else b""
    return data[2:]


def _addresses(rrset: Any) -> list[Any]:
    return [record for record in rrset if rrset.rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA)]
