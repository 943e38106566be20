"""Addresses of schedulers, and servers of other kinds at them: one message each, and soon."""

from __future__ import annotations

import contextlib
import http.server
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sim.batch import scheduler_address
from sim.batch.scheduler_address import read_address, refuse_other_servers
from sim.batch.tls_files import TlsFiles
from sim.errors import GammawallError, InputError


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("tcp://node1:8786", "tcp://node1:8786"),
        ("node1:8786", "tcp://node1:8786"),
        ("tls://10.0.0.1:1", "tls://10.0.0.1:1"),
        ("tcp://[::1]:8786", "tcp://[::1]:8786"),
        ("[fe80::1]:8786", "tcp://[fe80::1]:8786"),
    ],
)
def test_addresses(text: str, read: str) -> None:
    assert read_address(text, "scheduler").text == read


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("http://host:8787/status", r"dashboard.* Try the one .* such as tcp://host:8786"),
        ("https://host", "dashboard"),
        ("foo", r"has no port\)\. Try an address such as tcp://node1:8786"),
        ("tcp://node1", "has no port"),
        ("tcp://node1:", "has no port"),
        ("tcp://node1:0", "0 is no port"),
        ("tcp://node1:65536", "is no address"),
        ("tcp://node1:-1", "is no address"),
        ("tcp://node1:port", "is no address"),
        ("tcp://:8786", "has no host"),
        ("", "has no host"),
        ("tcp://::1:8786", r"more than one colon\)\. Put a host of IPv6 in brackets"),
        ("::1:8786", "more than one colon"),
        ("tcp://[::1:8786", "is no address"),
        ("ftp://node1:8786", "begins neither with tcp:// nor with tls://"),
        ("tcp://node1:8786/status", "more than a host and a port"),
        ("tcp://me@node1:8786", r"'tcp://…@node1:8786' \(has a user or a password"),
        ("tcp://me:secret@node1:8786", r"'tcp://…@node1:8786' \(has a user or a password"),
        ("me:secret@node1:8786", r"'…@node1:8786' \(has a user or a password"),
        ("tcp://me:secret @node1:8786", "is no address"),
        ("tcp://a b:1", "is no address"),
        ("tcp://a\0:1", "is no address"),
        (1, "the address of a dask scheduler is expected"),
    ],
)
def test_what_is_no_address(text: object, said: str) -> None:
    with pytest.raises(InputError, match=said) as refused:
        read_address(text, "scheduler")
    assert len(str(refused.value).splitlines()) == 1
    assert "secret" not in str(refused.value)


def keep(_: socket.socket) -> None:
    """Say nothing."""


def close(connection: socket.socket) -> None:
    connection.close()


def greet_as_ssh(connection: socket.socket) -> None:
    connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")


def talk(connection: socket.socket) -> None:
    connection.sendall(bytes(range(256)))


def trickle(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection.sendall(b"\0")
            time.sleep(0.05)


def greet_as_dask(connection: socket.socket) -> None:
    greeting = b"\x83\xabcompression\xc0\xafpickle-protocol\x05"
    connection.sendall(len(greeting).to_bytes(8, "little") + greeting)


@contextlib.contextmanager
def server(handle: Callable[[socket.socket], None]) -> Iterator[int]:
    """Port at which each connection is handled in a thread of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        kept: list[socket.socket] = []

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    kept.append(listening.accept()[0])
                    threading.Thread(target=handle, args=(kept[-1],), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]
        for connection in kept:
            connection.close()


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers that say nothing are given up soon."""
    monkeypatch.setattr(scheduler_address, "SILENCE_S", 0.3)
    monkeypatch.setattr(scheduler_address, "REPLY_S", 0.3)


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize(
    ("handle", "said"),
    [
        (keep, "accepts connections and says nothing"),
        (close, "it closes connections at once|reset by peer"),
        (greet_as_ssh, "an SSH server is there"),
        (talk, "another program is there"),
        (trickle, "another program is there|says nothing"),
    ],
)
def test_other_servers(handle: Callable[[socket.socket], None], said: str) -> None:
    with server(handle) as port, pytest.raises(GammawallError, match=said) as refused:
        refuse_other_servers(read_address(f"127.0.0.1:{port}", "scheduler"), None, 8)
    assert refused.value.exit_code == 1
    assert str(refused.value).startswith(f"no dask scheduler answers at tcp://127.0.0.1:{port} (")


@pytest.mark.usefixtures("hurried")
def test_a_web_server() -> None:
    handler = http.server.BaseHTTPRequestHandler
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        web.daemon_threads = True
        handler.log_message = lambda *_: None  # type: ignore[method-assign]
        threading.Thread(target=web.serve_forever, daemon=True).start()
        address = read_address(f"127.0.0.1:{web.server_address[1]}", "scheduler")
        with pytest.raises(GammawallError, match="a web server is there, such as the scheduler's dashboard"):
            refuse_other_servers(address, None, 8)
        web.shutdown()


def test_a_dask_server() -> None:
    with server(greet_as_dask) as port:
        refuse_other_servers(read_address(f"127.0.0.1:{port}", "scheduler"), None, 8)


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(GammawallError, match="connection refused"):
        refuse_other_servers(read_address(f"127.0.0.1:{port}", "scheduler"), None, 8)


def test_a_name_that_nobody_looks_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a name server that is a black hole; the thread that waits for it is left alone."""
    release = threading.Event()

    def resolve(*_: object, **__: object) -> None:
        release.wait(30)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(GammawallError, match=r"node1 did not answer within 0\.2 s"):
        refuse_other_servers(read_address("node1:8786", "scheduler"), None, 0.2)
    release.set()


def test_a_certificate_that_has_expired(tmp_path: Path) -> None:
    """Told plainly, rather than as one of another authority."""
    pytest.importorskip("cryptography")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now - timedelta(days=9)).not_valid_after(now - timedelta(days=1))
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    file = tmp_path / "both.pem"
    form = serialization.Encoding.PEM
    secret = key.private_bytes(form, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(made.sign(key, hashes.SHA256()).public_bytes(form) + secret)
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(file)
    ours = TlsFiles(str(file), str(file)).context({"ca": "ca", "cert": "cert", "key": "key"})
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with (
                contextlib.suppress(OSError),
                theirs.wrap_socket(server.accept()[0], server_side=True) as one,
            ):
                one.sendall(b"x")

        threading.Thread(target=serve, daemon=True).start()
        address = read_address(f"tls://127.0.0.1:{server.getsockname()[1]}", "scheduler")
        with pytest.raises(GammawallError, match="its certificate has expired"):
            refuse_other_servers(address, ours, 5)
