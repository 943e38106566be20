"""Certificates by which a batch and a dask cluster know each other."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sim.errors import InputError, Problem
from sim.problems import shown

# Keys of dask's configuration that name the files if no arguments do.
CONFIGURED = {
    "ca": "distributed.comm.tls.ca-file",
    "cert": "distributed.comm.tls.client.cert",
    "key": "distributed.comm.tls.client.key",
}
# Reasons of OpenSSL in plain words, where its own say little.
NOT_PEM = "it is not in PEM form"
PLAIN = dict.fromkeys(("NO_START_LINE", "PEM_LIB", "NO_CERTIFICATE_OR_CRL_FOUND", "ASN1_LIB"), NOT_PEM)
PLAIN |= dict.fromkeys(("BAD_BASE64_DECODE", "BAD_END_LINE", "TOO_LONG", "HEADER_TOO_LONG"), "it is damaged")
HINT = "Try the files that the scheduler and its workers were started with."


@dataclass(frozen=True)
class TlsFiles:
    """Files in PEM form for encrypted connections, each None if it is not given.

    Attributes
    ----------
    ca : certificate of the authority that signed all of them.
    cert : own certificate.
    key : key of that certificate; it may stand in the same file.
    """

    ca: str | None = None
    cert: str | None = None
    key: str | None = None

    @property
    def any_given(self) -> bool:
        """Whether any file is given."""
        return any((self.ca, self.cert, self.key))

    def or_configured(self, setting: Callable[[str], object]) -> tuple[TlsFiles, dict[str, str]]:
        """These files, or where none is given those of dask's configuration; with what messages call each.

        setting : function that returns the value of a key of the configuration.
        """
        own_names = {part: f"tls_{part}" for part in CONFIGURED}
        if self.any_given:
            return self, own_names
        found = {part: setting(key) for part, key in CONFIGURED.items()}
        files = TlsFiles(**{part: None if value is None else str(value) for part, value in found.items()})
        return files, CONFIGURED if files.any_given else own_names

    def context(self, names: dict[str, str]) -> ssl.SSLContext:
        """Context of connections to a scheduler, from the files as they are now.

        names : what messages call each attribute.

        Errors: InputError if a file is missing, cannot be read, or does not fit the others.
        """
        missing = [
            Problem("", names[part], "", "is needed for a tls:// address", HINT)
            for part in ("ca", "cert")
            if getattr(self, part) is None
        ]
        unreadable = [
            Problem("", names[part], path if path.isprintable() else shown(path), why, HINT)
            for part in ("ca", "cert", "key")
            if (path := getattr(self, part)) is not None and (why := _unreadable(path))
        ]
        if missing or unreadable:
            raise InputError([*missing, *unreadable])
        assert self.ca is not None
        assert self.cert is not None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = (
            False  # as dask has it: hosts of a cluster are known by their authority alone
        )
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        try:
            context.load_verify_locations(self.ca)
        except (ssl.SSLError, ValueError) as error:
            raise InputError(
                [Problem("", names["ca"], self.ca, f"holds no certificate: {_reason(error)}", HINT)]
            ) from error
        try:
            context.load_cert_chain(self.cert, self.key, password=_no_password)
        except (ssl.SSLError, ValueError) as error:
            raise InputError([self._misfit(names, error)]) from error
        return context

    def _misfit(self, names: dict[str, str], error: Exception) -> Problem:
        """Problem with a certificate and its key, which OpenSSL has refused together."""
        key = self.key or self.cert or ""
        reason = getattr(error, "reason", "") or ""
        if reason == "KEY_VALUES_MISMATCH":
            return Problem("", names["key"], key, f"is not the key of {self.cert}", HINT)
        if isinstance(error, _EncryptedKeyError):
            hint = "Try openssl pkey -in KEY -out PLAIN."
            return Problem("", names["key"], key, "is encrypted, and dask asks for no password", hint)
        if self.key is None and "PRIVATE KEY" not in Path(key).read_text(encoding="ascii", errors="replace"):
            return Problem("", names["key"], "", f"is needed: {self.cert} holds no key", HINT)
        files = self.cert if self.key is None else f"{self.cert} with {self.key}"
        return Problem(
            "", names["cert"], str(files), f"is no certificate with its key: {_reason(error)}", HINT
        )


def tls_files(
    ca: str | os.PathLike[str] | None, cert: str | os.PathLike[str] | None, key: str | os.PathLike[str] | None
) -> TlsFiles:
    """Files by their paths."""
    return TlsFiles(*(None if path is None else os.fspath(path) for path in (ca, cert, key)))


class _EncryptedKeyError(ValueError):
    """Error about a key that needs a password."""


def _no_password() -> str:
    raise _EncryptedKeyError


def _unreadable(path: str) -> str:
    """Reason why a file cannot be read; "" if it can."""
    try:
        if not Path(path).is_file():
            return "is no file" if Path(path).exists() else "there is no such file"
        with open(path, "rb"):
            return ""
    except (OSError, ValueError) as error:
        return f"cannot be read: {getattr(error, 'strerror', None) or error}"


def _reason(error: Exception) -> str:
    """Reason of an error of OpenSSL in plain words, without its codes."""
    reason = str(getattr(error, "reason", None) or error)
    return PLAIN.get(reason, reason.replace("_", " ").lower())
