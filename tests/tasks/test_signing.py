"""Answers signed with people's own keys: whose they are, and what is not theirs."""

from __future__ import annotations

import stat

import jwt
import pytest

from flotilla.errors import InvalidInput, Permanent
from tasks.signing import new_key, signed, verifier

CLAIMS = {"name": "alice", "decision": "approve", "iat": 1.0, "exp": 2.0}


@pytest.fixture
def alice(tmp_path):
    file = tmp_path / "alice.pem"
    return file, new_key(file)


@pytest.fixture
def bob(tmp_path):
    file = tmp_path / "bob.pem"
    return file, new_key(file)


def test_what_somebody_signed_is_read_back_however_old_it_is(alice):
    file, public = alice

    assert CLAIMS == verifier({"alice": public})(signed(CLAIMS, file))


def test_a_key_is_readable_by_its_owner_alone_and_never_written_over(alice):
    file, _ = alice

    assert 0o600 == stat.S_IMODE(file.stat().st_mode)
    with pytest.raises(Permanent, match="File exists"):
        new_key(file)


def test_what_another_signed_in_somebodys_name_does_not_count(alice, bob):
    verify = verifier({"alice": alice[1], "bob": bob[1]})
    in_alices_name = jwt.encode(CLAIMS, _private(bob[0]), "EdDSA", headers={"kid": "alice"})
    by_bob_for_alice = jwt.encode(CLAIMS, _private(bob[0]), "EdDSA", headers={"kid": "bob"})

    with pytest.raises(ValueError, match="signature does not hold"):
        verify(in_alices_name)
    with pytest.raises(ValueError, match="speaks for 'alice' and is signed by 'bob'"):
        verify(by_bob_for_alice)


def test_strangers_unsigned_tokens_and_rubbish_do_not_count(alice, bob):
    verify = verifier({"alice": alice[1]})
    unsigned = jwt.encode(CLAIMS, None, "none", headers={"kid": "alice"})
    with_the_public_key_as_secret = jwt.encode(CLAIMS, alice[1], "HS256", headers={"kid": "alice"})

    with pytest.raises(ValueError, match="not among the approvers: alice"):
        verify(signed(CLAIMS | {"name": "bob"}, bob[0]))
    for token in (unsigned, with_the_public_key_as_secret, "rubbish", ""):
        with pytest.raises(ValueError, match="signature does not hold"):
            verify(token)


def test_a_file_without_a_key_is_named(tmp_path):
    file = tmp_path / "no.pem"
    file.write_text("no key")

    with pytest.raises(InvalidInput, match="no.pem.*an Ed25519 private key in PEM"):
        signed(CLAIMS, file)
    with pytest.raises(InvalidInput, match="gone.pem"):
        signed(CLAIMS, tmp_path / "gone.pem")


def _private(file):
    from cryptography.hazmat.primitives import serialization

    return serialization.load_pem_private_key(file.read_bytes(), None)
