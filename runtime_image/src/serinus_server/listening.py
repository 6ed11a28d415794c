"""Sockets that listen: for this process alone, or shared by the workers of one server."""

import errno
import socket
from typing import Final

BACKLOG: Final = 1024
EVERY_ADDRESS: Final = "*"


def listen(host: str, port: int, *, joins: bool = False) -> socket.socket:
    """A listening socket; `*` means every address, IPv6 and IPv4 where both are there.

    With `joins` others listen at the same address, having called `share`; otherwise it must be free.

    Raises OSError if the address is taken or not this machine's.
    """
    if host != EVERY_ADDRESS:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG, reuse_port=joins)
    try:
        return socket.create_server(
            ("", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True, reuse_port=joins
        )
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise
        return socket.create_server(("", port), backlog=BACKLOG, reuse_port=joins)


def share(listener: socket.socket) -> None:
    """Let other processes of the same user listen at this address from now on; connections are spread over all."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
