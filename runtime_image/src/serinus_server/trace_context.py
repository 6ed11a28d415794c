"""W3C trace context: which trace a request is part of. https://www.w3.org/TR/trace-context/"""

import re
from typing import Final

_TRACEPARENT: Final = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?P<later>-.*)?", re.DOTALL
)


def trace_id(traceparent: bytes) -> str | None:
    """The trace id of a `traceparent` header; None where the header is not valid, and so to be ignored.

    A later version than 00 may add fields at the end.
    """
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None or (match["later"] is not None and traceparent.startswith(b"00")):
        return None
    return match[1].decode()
