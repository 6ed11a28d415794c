"""One stream, from a client's HEADERS to the end of the reply: RFC 9113, section 5.1."""

from typing import Any

from serinus_server.http2.errors import ErrorCode, StreamFault
from serinus_server.http2.flow_control import Window


class Stream:
    """What is kept of a stream while it is open in either direction.

    `remote_open` is whether the client may go on with its request, `local_open` whether the reply has not ended. `note`
    is the application's. Of a reply that has not gone out `unsent` is what waits for the client's window, and `ending`
    the frame after that; `stalled_since` is the owner's note of when it saw that first, and 0 once something went out.
    """

    __slots__ = (
        "_awaited_bytes",
        "ending",
        "id",
        "local_open",
        "note",
        "receive_window",
        "remote_open",
        "send_window",
        "stalled_since",
        "unsent",
    )

    def __init__(self, id: int, receive_bytes: int, send_bytes: int, content_length: int | None) -> None:  # noqa: A002
        self.id = id
        self.remote_open = True
        self.local_open = True
        self.receive_window = Window(receive_bytes)
        self.send_window = Window(send_bytes)
        self.unsent: memoryview | None = None
        self.ending: bytes | None = None
        self.stalled_since = 0.0
        self.note: Any = None
        self._awaited_bytes = content_length

    def came(self, size: int, *, ends: bool) -> None:
        """So many bytes of the body came, and perhaps its end.

        Raises StreamFault if they are not what content-length has promised.
        """
        if ends:
            self.remote_open = False
        if self._awaited_bytes is not None:
            self._awaited_bytes -= size
            if self._awaited_bytes < 0 or (ends and self._awaited_bytes):
                raise StreamFault(self.id, ErrorCode.PROTOCOL_ERROR)

    def close(self) -> None:
        """Nothing goes in either direction any more."""
        self.remote_open = self.local_open = False
        self.unsent = self.ending = None
