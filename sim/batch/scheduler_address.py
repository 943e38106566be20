"""Address of a dask scheduler, and what answers there.

Dask itself would try for a minute or for ever, whatever answers. So the place is looked at first, by the few bytes
that every dask server sends of its own accord as soon as somebody connects.
"""

from __future__ import annotations

import re
import socket
import ssl
from typing import NamedTuple
from urllib.parse import urlsplit

from sim.batch.patience import Deadline, within
from sim.errors import GammawallError, InputError, Problem

EXAMPLE = "tcp://node1:8786"
SCHEMES = ("tcp", "tls")
WEB = ("http", "https", "ws", "wss")
# OpenSSL's codes of certificates that are good at another time.
OUT_OF_DATE = {9: "is not valid yet", 10: "has expired"}
# Length of a dask server's first message: the number of bytes that follow, as 8 bytes, the lowest first.
PREFIX_BYTES = 8
LONGEST_GREETING = 1 << 16
# Word that stands in the greeting of every dask server.
GREETING = b"pickle-protocol"
# Seconds after which a server that says nothing is one that waits to be spoken to.
SILENCE_S = 3.0
# Seconds for a reply to what has been said to it.
REPLY_S = 2.0
# Shortest time limit of a socket, for which 0 would mean none.
PIECE_OF_TIME = 0.01
QUESTION = b"GET / HTTP/1.0\r\n\r\n"
RUNNING = "Is the scheduler running there?"


class SchedulerAddress(NamedTuple):
    """Address of a scheduler: its text, with its scheme, and the parts of that."""

    text: str
    scheme: str
    host: str
    port: int


def read_address(text: object, where: str) -> SchedulerAddress:
    """Address of a scheduler, from its text.

    text : scheme://host:port, or host:port for tcp; brackets around a host of IPv6.
    where : what messages call it.

    Errors: InputError if it is no such address.
    """

    def refused(why: str, hint: str = f"Try an address such as {EXAMPLE}.") -> InputError:
        return InputError([Problem("", where, repr(_without_login(text)), why, hint)])

    if not isinstance(text, str):
        raise refused("the address of a dask scheduler is expected")
    if not text.isprintable() or " " in text:
        raise refused("is no address")
    full = text if "://" in text else f"tcp://{text}"
    try:
        place = urlsplit(full)
        if "@" in place.netloc:
            raise refused(
                "has a user or a password, for which a scheduler has no use",
                "Leave out what is before the @.",
            )
        if place.netloc.count(":") > 1 and "[" not in place.netloc:
            raise refused("has more than one colon", "Put a host of IPv6 in brackets: tcp://[::1]:8786.")
        host, port = place.hostname, place.port
    except ValueError as error:
        raise refused(f"is no address: {error}") from error
    if place.scheme in WEB:
        near = f"tcp://{host or 'node1'}:8786"
        why = "is the address of a web page, such as the scheduler's dashboard, and not the scheduler's own"
        raise refused(why, f"Try the one that the scheduler prints as it starts, such as {near}.")
    if place.scheme not in SCHEMES:
        raise refused(f"begins neither with {SCHEMES[0]}:// nor with {SCHEMES[1]}://")
    if place.path not in ("", "/") or place.query or place.fragment:
        raise refused("has more than a host and a port")
    if not host:
        raise refused("has no host")
    if not port:
        raise refused("has no port" if port is None else "0 is no port to connect to")
    shown_host = f"[{host}]" if ":" in host else host
    return SchedulerAddress(f"{place.scheme}://{shown_host}:{port}", place.scheme, host, port)


def _without_login(text: object) -> object:
    """Text of an address without a user and a password in it, which no message may show."""
    return re.sub(r"^(\w+://)?.*@", r"\1…@", text, flags=re.DOTALL) if isinstance(text, str) else text


def refuse_other_servers(address: SchedulerAddress, context: ssl.SSLContext | None, seconds: float) -> None:
    """Refuse an address at which no dask server answers.

    context : context of the connection, for tls alone.
    seconds : the longest time that this may take.

    Errors: GammawallError that says what is there instead.
    """
    deadline = Deadline(seconds)
    try:
        # in a thread, since the look-up of a name knows no time limit
        why = within(seconds, lambda: _other_server(address, context, deadline))
    except TimeoutError:
        why = f"{address.host} did not answer within {seconds:.3g} s"
    if why:
        raise GammawallError(f"no dask scheduler answers at {address.text} ({why}). {RUNNING}")


def _other_server(address: SchedulerAddress, context: ssl.SSLContext | None, deadline: Deadline) -> str:
    """What answers at an address, in words; "" if it is a dask server."""
    try:
        with _connected(address, deadline) as plain:
            if context is None:
                return _plain_greeting(plain, address, deadline)
            with context.wrap_socket(plain, server_hostname=address.host) as secure:
                return _judged(_greeting(secure, deadline))
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in OUT_OF_DATE:
            return f"its certificate {OUT_OF_DATE[error.verify_code]}"
        return f"its certificate is not signed by the authority given: {error.verify_message}"
    except ssl.SSLError as error:
        return _tls_failure(error)
    except TimeoutError:
        return "it accepts connections and says nothing"
    except socket.gaierror as error:
        return f"the name {address.host} is not known: {error.strerror}"
    except (OSError, UnicodeError) as error:
        return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()


def _connected(address: SchedulerAddress, deadline: Deadline) -> socket.socket:
    try:
        return socket.create_connection((address.host, address.port), timeout=deadline.left or PIECE_OF_TIME)
    except TimeoutError as error:
        raise ConnectionError(f"{address.host} did not answer") from error


def _plain_greeting(plain: socket.socket, address: SchedulerAddress, deadline: Deadline) -> str:
    """What a server that is not asked for encryption is, in words; "" if it is a dask server."""
    try:
        return _judged(_greeting(plain, deadline))
    except TimeoutError:
        pass
    if _speaks_tls(address, deadline):
        return f"encrypted connections are expected there: try tls://{address.text.partition('://')[2]}"
    plain.settimeout(min(REPLY_S, deadline.left or PIECE_OF_TIME))
    plain.sendall(QUESTION)
    return _judged(plain.recv(PREFIX_BYTES))


def _greeting(connection: socket.socket, deadline: Deadline) -> bytes:
    """First bytes that a server sends of its own accord, a dask server's greeting whole."""
    found = b""
    wanted = PREFIX_BYTES
    patience = Deadline(min(SILENCE_S, deadline.left))
    while len(found) < wanted:
        connection.settimeout(patience.left or PIECE_OF_TIME)
        more = connection.recv(wanted - len(found))
        if not more:
            break
        found += more
        if len(found) == PREFIX_BYTES:
            length = int.from_bytes(found, "little")
            wanted += length if length < LONGEST_GREETING else 0
    return found


def _judged(found: bytes) -> str:
    """What a server is by its first bytes, in words; "" if it is a dask server."""
    if GREETING in found:
        return ""
    if not found:
        return "it closes connections at once"
    if found.startswith(b"HTTP/"):
        return "a web server is there, such as the scheduler's dashboard; the scheduler has a port of its own"
    if found.startswith(b"SSH-"):
        return "an SSH server is there"
    return "another program is there"


def _speaks_tls(address: SchedulerAddress, deadline: Deadline) -> bool:
    """Whether a server takes part in the beginning of an encrypted connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with _connected(address, deadline) as plain:
            plain.settimeout(min(REPLY_S, deadline.left or PIECE_OF_TIME))
            with context.wrap_socket(plain, server_hostname=address.host):
                return True
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")  # it speaks, and has refused a client without a certificate
    except OSError:
        return False


def _tls_failure(error: ssl.SSLError) -> str:
    """What a failed encrypted connection says about the server, in words."""
    reason = (error.reason or "").replace("_", " ").lower()
    if "wrong version number" in reason or "packet length" in reason or "record layer" in reason:
        return "it does not speak TLS: try tcp:// if its network can be trusted"
    if "expired" in reason:
        return f"the certificate given {OUT_OF_DATE[10]}"
    if "alert" in reason:
        return f"it refuses this certificate: {reason}"
    return f"no encrypted connection: {reason or error}"
