"""The server's certificate, read from a mounted Secret."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CERTIFICATE_FILE: Final = "tls.crt"
KEY_FILE: Final = "tls.key"
AUTHORITIES_FILE: Final = "ca.crt"


class InvalidCertificateError(ValueError):
    """The files are at fault; the message says which and how."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate with its key; clients have to have one of the `authorities`, if there are any. PEM.

    `context` is the same for Python's own TLS. It lets clients without a certificate connect, as probes and scrapes
    have none, and refuses one of another authority.
    """

    chain: bytes
    key: bytes
    authorities: bytes | None
    context: ssl.SSLContext


def read_certificate(folder: Path) -> Certificate:
    """Read the files of a Secret of type kubernetes.io/tls, and ca.crt if it is there.

    Raises InvalidCertificateError, or OSError.
    """
    chain, key = (folder / CERTIFICATE_FILE).read_bytes(), (folder / KEY_FILE).read_bytes()
    authorities_file = folder / AUTHORITIES_FILE
    authorities = authorities_file.read_bytes() if authorities_file.exists() else None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
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
            raise InvalidCertificateError(f"{authorities_file} holds no certificates in PEM: {error}") from error
        context.verify_mode = ssl.CERT_OPTIONAL
    return Certificate(chain, key, authorities, context)
