"""Certificates that are missing, damaged or do not fit each other."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.dask_clusters import certificates, distributed

from sim.batch.tls_files import CONFIGURED, TlsFiles, tls_files
from sim.errors import InputError

NAMES = {part: f"tls_{part}" for part in CONFIGURED}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return certificates(distributed.Security.temporary(), tmp_path_factory.mktemp("own"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return certificates(distributed.Security.temporary(), tmp_path_factory.mktemp("other"))


def refusal(files: TlsFiles) -> list[str]:
    with pytest.raises(InputError) as refused:
        files.context(NAMES)
    return str(refused.value).splitlines()


def test_right_files(own: TlsFiles) -> None:
    own.context(NAMES)


def test_a_key_in_the_file_of_its_certificate(own: TlsFiles, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_text(Path(str(own.cert)).read_text() + Path(str(own.key)).read_text())
    tls_files(own.ca, both, None).context(NAMES)


def test_no_files() -> None:
    assert [line.partition(" (")[0] for line in refusal(TlsFiles())] == ["tls_ca", "tls_cert"]


def test_missing_files(own: TlsFiles, tmp_path: Path) -> None:
    (line,) = refusal(TlsFiles(str(tmp_path / "a"), own.cert, own.key))
    assert line.startswith(f"tls_ca = {tmp_path}/a (there is no such file). Try ")
    (line,) = refusal(TlsFiles(str(tmp_path), own.cert, own.key))
    assert "(is no file)" in line
    (line,) = refusal(TlsFiles("a\nb", own.cert, own.key))
    assert line.startswith(r'tls_ca = "a\nb" (there is no such file)')


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="a user other than root")
def test_files_that_may_not_be_read(own: TlsFiles, tmp_path: Path) -> None:
    locked = tmp_path / "ca"
    locked.touch(0o000)
    (line,) = refusal(TlsFiles(str(locked), own.cert, own.key))
    assert "cannot be read: Permission denied" in line


def test_damaged_files(own: TlsFiles, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    damaged.write_text("-----BEGIN CERTIFICATE-----\nnonsense\n")
    (line,) = refusal(TlsFiles(str(damaged), own.cert, own.key))
    assert line.startswith(f"tls_ca = {damaged} (holds no certificate")
    (line,) = refusal(TlsFiles(own.ca, str(damaged), own.key))
    assert "is no certificate with its key" in line
    (line,) = refusal(TlsFiles(own.ca, own.cert, None))
    assert line.startswith(f"tls_key (is needed: {own.cert} holds no key). Try ")


def test_a_key_of_another_certificate(own: TlsFiles, other: TlsFiles) -> None:
    (line,) = refusal(TlsFiles(own.ca, own.cert, other.key))
    assert line.startswith(f"tls_key = {other.key} (is not the key of {own.cert})")


def test_an_encrypted_key_asks_for_nothing(own: TlsFiles, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization as form

    key = form.load_pem_private_key(Path(str(own.key)).read_bytes(), None)
    secret = tmp_path / "secret"
    secret.write_bytes(
        key.private_bytes(
            form.Encoding.PEM, form.PrivateFormat.PKCS8, form.BestAvailableEncryption(b"password")
        )
    )
    (line,) = refusal(TlsFiles(own.ca, own.cert, str(secret)))
    assert "is encrypted, and dask asks for no password). Try openssl pkey" in line


def test_files_of_the_configuration(own: TlsFiles) -> None:
    """They count only where none is given, and messages call them by their keys."""
    settings = dict(zip(CONFIGURED.values(), (own.ca, own.cert, own.key), strict=True))
    assert TlsFiles().or_configured(settings.get) == (own, CONFIGURED)
    assert TlsFiles(ca="x").or_configured(settings.get) == (TlsFiles(ca="x"), NAMES)
    assert TlsFiles().or_configured(lambda _key: None) == (TlsFiles(), NAMES)
