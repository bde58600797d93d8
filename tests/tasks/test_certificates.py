"""Certificates' ends, of a server that speaks TLS at once and of one that has to be asked as PostgreSQL is."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path

import pytest
from cryptography import x509

from flotilla.errors import Transient
from lab import certificates
from tasks.certificates import ends

SSL_REQUEST = bytes.fromhex("0000000804d2162f")


class Server:
    """Serves one connection: asked for TLS first if it is to be, and refusing it if ``answer`` is not S."""

    def __init__(self, folder: Path, answer: bytes = b"") -> None:
        certificates.ensure(folder, {"here": "127.0.0.1"})
        self.pem, self.answer = folder / "here.pem", answer
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.pem, folder / "here.key")
        self.door = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.door.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        line, _ = self.door.accept()
        with line:
            if self.answer:
                assert SSL_REQUEST == line.recv(8, socket.MSG_WAITALL)
                line.sendall(self.answer)
            if self.answer in (b"", b"S"):
                self.context.wrap_socket(line, server_side=True).close()


@pytest.fixture
def closed() -> int:
    with socket.create_server(("127.0.0.1", 0)) as door:
        return int(door.getsockname()[1])


@pytest.mark.parametrize("answer", [b"", b"S"])
def test_the_end_is_the_certificates_own(tmp_path: Path, answer: bytes):
    server = Server(tmp_path, answer)
    own = x509.load_pem_x509_certificate(server.pem.read_bytes()).not_valid_after_utc.timestamp()

    assert own == ends("127.0.0.1", server.port, postgres=bool(answer))


def test_who_shows_none_is_told(tmp_path: Path, closed: int):
    with pytest.raises(Transient, match="offers no TLS"):
        ends("127.0.0.1", Server(tmp_path, b"N").port, postgres=True)
    with pytest.raises(Transient, match="shows no certificate"):
        ends("127.0.0.1", closed)
