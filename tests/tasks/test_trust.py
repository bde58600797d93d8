"""Whom TLS trusts by default, and what is said where the environment names somebody who can't be read."""

from __future__ import annotations

from pathlib import Path

import certifi
import pytest

from flotilla.errors import InvalidInput
from tasks.trust import trusted


@pytest.fixture(autouse=True)
def _anew() -> None:
    trusted.cache_clear()


def test_authorities_are_read_once_and_those_that_the_environment_names_before_certifis(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    assert trusted() is trusted()
    monkeypatch.setenv("SSL_CERT_FILE", certifi.where())
    trusted.cache_clear()
    assert trusted().cert_store_stats()["x509_ca"] > 50


@pytest.mark.parametrize("text", [None, "", "no certificate"])
def test_what_holds_no_authority_is_named_with_its_variable(
    text: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "authorities.pem"
    if text is not None:
        file.write_text(text)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))

    with pytest.raises(InvalidInput, match=f"the environment: SSL_CERT_FILE: '{file}'; allowed: authorities in PEM"):
        trusted()
