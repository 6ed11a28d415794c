"""Flow control: how many bytes may still be sent in one direction, on a stream or a connection (RFC 9113, 5.2)."""

from typing import Final

MAX_WINDOW: Final = 2**31 - 1
DEFAULT_WINDOW: Final = 65_535
"""What a connection starts with, and a stream where no setting says otherwise."""


class WindowOverrunError(Exception):
    """More was sent, or allowed, than there is room for."""


class Window:
    """Bytes that may still be sent. A change of the initial size may make it negative."""

    __slots__ = ("size",)

    def __init__(self, size: int) -> None:
        self.size = size

    def spend(self, size: int) -> None:
        """So many bytes were sent.

        Raises WindowOverrunError if they were too many.
        """
        if size > self.size and size:  # nothing can be sent even into a negative window
            raise WindowOverrunError
        self.size -= size

    def grow(self, size: int) -> None:
        """Allow so many more bytes, or fewer if negative.

        Raises WindowOverrunError if that were more than a window can have.
        """
        if self.size + size > MAX_WINDOW:
            raise WindowOverrunError
        self.size += size
