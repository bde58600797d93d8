"""Who said it: approvals signed with a person's own Ed25519 key, as JSON Web Tokens (RFC 7519, RFC 8037)."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jwt
from cryptography.exceptions import InvalidKey, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from jwt.types import Options

from flotilla.errors import InvalidInput, Permanent, Problem, phrase

ALGORITHM = "EdDSA"
_TIMELESS: Options = {"verify_exp": False, "verify_iat": False, "verify_nbf": False}


def new_key(file: Path) -> str:
    """Write a new private key, readable by its owner alone, and return its public half as the fleet file names it.

    Raises Permanent where the file is there already: a key is never written over.
    """
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
            opened.write(pem)
    except OSError as error:
        raise Permanent(f"{file}: the key is not written: {error.strerror or error}") from None
    return public_half(key)


def public_half(key: Ed25519PrivateKey) -> str:
    """Return a key's public half: base64 of its 32 bytes."""
    raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return base64.b64encode(raw).decode()


def signed(claims: Mapping[str, Any], file: Path) -> str:
    """Return claims as a token signed with the private key in a file; raises InvalidInput where that holds none."""
    try:
        key = serialization.load_pem_private_key(file.read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InvalidInput(
            [Problem(str(file), "", phrase(f"cannot be read: {error}"), "an Ed25519 private key in PEM")]
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise InvalidInput([Problem(str(file), "", phrase("holds a key of another kind"), "an Ed25519 private key in PEM")])
    return jwt.encode(dict(claims), key, ALGORITHM, headers={"kid": str(claims["name"])})


def verifier(keys: Mapping[str, str]) -> Callable[[str], Mapping[str, Any]]:
    """Return what checks a token's signature by the public keys of people, by their names.

    It returns the claims, raises ValueError where the signature is not that of the person whom they name. Times, and what
    was signed, are judged elsewhere (``flotilla.recovery.approvals``).
    """
    known = {name: _public(key) for name, key in keys.items()}

    def verify(token: str) -> Mapping[str, Any]:
        try:
            who = jwt.get_unverified_header(token).get("kid")
            if who not in known:
                raise ValueError(
                    f"it is signed by {who!r}, who is not among the approvers: {', '.join(known) or 'there are none'}"
                )
            claims: dict[str, Any] = jwt.decode(token, known[who], [ALGORITHM], options=_TIMELESS)
        except jwt.PyJWTError as error:
            raise ValueError(f"its signature does not hold: {error}") from None
        if claims.get("name") != who:
            raise ValueError(f"it speaks for {claims.get('name')!r} and is signed by {who!r}")
        return claims

    return verify


def _public(key: str) -> Ed25519PublicKey:
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(key, validate=True))
    except (ValueError, InvalidKey) as error:
        raise Permanent(f"{key!r} is no public Ed25519 key: {error}") from None
