"""An authority of a lab's own, and a certificate for each site: in files, made once."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LASTS = timedelta(days=3650)
_BEFORE = timedelta(days=1)  # clocks of sites differ, and tests set them


def ensure(folder: Path, sites: dict[str, str]) -> None:
    """Have ``ca.pem``, and for each site (with its address) ``SITE.pem`` and ``SITE.key``."""
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    if not (folder / "ca.pem").exists():
        _make_authority(folder)
    for site, address in sites.items():
        if not (folder / f"{site}.pem").exists():
            _make_certificate(folder, site, address)


def _make_authority(folder: Path) -> None:
    key, name = ec.generate_private_key(ec.SECP256R1()), _name("flotilla lab")
    made = _builder(name, name, key).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)  # certificates and their revocation
    _write(folder / "ca.key", _private(key), 0o600)
    # Every lab's authority has this name: by its key a client tells which of two that it trusts has signed a certificate.
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    signed = made.add_extension(usage, critical=True).add_extension(own, critical=False).sign(key, hashes.SHA256())
    _write(folder / "ca.pem", signed.public_bytes(serialization.Encoding.PEM), 0o644)


def _make_certificate(folder: Path, site: str, address: str) -> None:
    authority = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
    signer = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address)), x509.DNSName(site)])
    made = (
        _builder(_name(site), authority.subject, key)
        .add_extension(names, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    _write(folder / f"{site}.key", _private(key), 0o600)
    _write(folder / f"{site}.pem", made.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), 0o644)


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BEFORE)
        .not_valid_after(now + _LASTS)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)


def _write(file: Path, content: bytes, mode: int) -> None:
    """Write a file whole: one that is there is never half of one."""
    unfinished = file.with_name(f".{file.name}")
    unfinished.unlink(missing_ok=True)
    handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as stream:
        os.fchmod(handle, mode)
        stream.write(content)
    unfinished.rename(file)
