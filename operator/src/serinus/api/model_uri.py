"""Where a model may lie: one pattern for the API server and the operator, and what a URI of a volume is made of."""

import re
from dataclasses import dataclass
from typing import Final

_BLANK: Final = r" \t\n\v\f\r"
"""Not \\s, which is not the same to the API server and to Python."""
_CHARACTER: Final = r"[^/\x00-\x20\x7f]"
_SEGMENT: Final = rf"([^./\x00-\x20\x7f]{_CHARACTER}*|[.][^./\x00-\x20\x7f]{_CHARACTER}*|[.][.]{_CHARACTER}+)"
"""A part of a path that is neither empty, nor . or .., which would lead elsewhere in a volume."""
_PATH: Final = rf"({_SEGMENT}/)*{_SEGMENT}?"
_CLAIM: Final = "[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?"

PATTERN: Final = "|".join(
    (
        f"(s3|gs|az|https)://[^/@{_BLANK}]+/[^{_BLANK}]+",
        f"pvc://{_CLAIM}/{_PATH}",
    )
)
"""What a URI is as a whole."""

FORMS: Final = (
    "s3://bucket/path, gs://bucket/path, az://container/path, https://host/path or pvc://claim/path, without spaces, "
    "credentials or .. in it"
)

_OF_A_CLAIM: Final = re.compile("pvc://([^/]+)/(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class OnClaim:
    """A model on a PersistentVolumeClaim; its path within ends in / or is empty for a folder."""

    claim: str
    path: str


def on_claim(uri: str) -> OnClaim | None:
    """What a valid URI says of a claim; None if the model is not on one."""
    match = _OF_A_CLAIM.fullmatch(uri)
    return OnClaim(match[1], match[2]) if match else None
