"""The server's certificate, read from a mounted Secret."""

import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CERTIFICATE_FILE: Final = "tls.crt"
KEY_FILE: Final = "tls.key"
AUTHORITIES_FILE: Final = "ca.crt"

_NO_CHECK_TIME: Final = 0x200000  # OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which Python has no name for
_FLIGHTS: Final = 3  # messages that a handshake has to wait for, at most


class InvalidCertificateError(ValueError):
    """The files are at fault; the message says which and how."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate with its key; clients have to have one of the `authorities`, if there are any. PEM.

    It is valid until `expires`, in seconds since 1970. The `context` for HTTP lets clients without a certificate
    connect, as probes and scrapes have none, and refuses one of another authority. `grpc_context` refuses both.
    """

    authorities: bytes | None
    context: ssl.SSLContext
    grpc_context: ssl.SSLContext
    expires: float


def read_certificate(folder: Path) -> Certificate:
    """Read the files of a Secret of type kubernetes.io/tls, and ca.crt if it is there.

    Raises InvalidCertificateError, or OSError.
    """
    chain = (folder / CERTIFICATE_FILE).read_bytes()
    (folder / KEY_FILE).read_bytes()  # ssl's own error does not name the file that is not there
    authorities_file = folder / AUTHORITIES_FILE
    authorities = authorities_file.read_bytes() if authorities_file.exists() else None
    context = _context(folder, authorities, "http/1.1", ssl.CERT_OPTIONAL)
    try:
        expires = _expires(context, chain)
    except (ssl.SSLError, ValueError) as error:
        raise InvalidCertificateError(f"{folder / CERTIFICATE_FILE} is no server's certificate: {error}") from error
    if expires <= time.time():
        when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(expires))
        raise InvalidCertificateError(f"{folder / CERTIFICATE_FILE} has expired at {when}")
    return Certificate(authorities, context, _context(folder, authorities, "h2", ssl.CERT_REQUIRED), expires)


def _context(folder: Path, authorities: bytes | None, protocol: str, mode: ssl.VerifyMode) -> ssl.SSLContext:
    """A context for one protocol; the mode holds where there are authorities.

    Raises InvalidCertificateError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([protocol])
    try:
        # A key that needs a password is an error, and no question on a terminal.
        context.load_cert_chain(folder / CERTIFICATE_FILE, folder / KEY_FILE, password="")
    except (ssl.SSLError, ValueError) as error:
        message = f"{folder}: {CERTIFICATE_FILE} and {KEY_FILE} are not a certificate and its key, in PEM: {error}"
        raise InvalidCertificateError(message) from error
    if authorities is not None:
        try:
            context.load_verify_locations(cadata=authorities.decode("ascii"))
        except (ssl.SSLError, ValueError) as error:
            message = f"{folder / AUTHORITIES_FILE} holds no certificates in PEM: {error}"
            raise InvalidCertificateError(message) from error
        context.verify_mode = mode
    return context


def _expires(context: ssl.SSLContext, chain: bytes) -> float:
    """When the certificate that `context` shows expires, in seconds since 1970.

    Python tells what is in a certificate only of a peer that it has verified: here it meets itself, in memory, as a
    client that trusts this very certificate at any time.

    Raises ssl.SSLError or ValueError if clients cannot take it.
    """
    meeting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    meeting.check_hostname = False
    meeting.load_verify_locations(cadata=chain.decode("ascii"))
    meeting.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = meeting.wrap_bio(to_client, to_server)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server) * _FLIGHTS:
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue  # it is the other's turn
    return ssl.cert_time_to_seconds(str((client.getpeercert() or {})["notAfter"]))
