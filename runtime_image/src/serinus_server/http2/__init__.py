"""The server's side of HTTP/2 (RFC 9113) without sockets and clocks: bytes in, calls to an application, bytes out."""
