"""The people of a lab who may approve a recovery, each with a key of their own, made once."""

from __future__ import annotations

import base64
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lab.layout import Layout

NAMES = ("alice", "bob")


def key_file(layout: Layout, name: str) -> Path:
    """Return where the private key of somebody who may approve lies."""
    return layout.directory / "people" / f"{name}.pem"


def public_key(layout: Layout, name: str) -> str:
    """Return the public half of somebody's key, which is made once."""
    path = key_file(layout, name)
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        private, pem = serialization.PrivateFormat.PKCS8, serialization.Encoding.PEM
        path.write_bytes(Ed25519PrivateKey.generate().private_bytes(pem, private, serialization.NoEncryption()))
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return base64.b64encode(raw).decode()
