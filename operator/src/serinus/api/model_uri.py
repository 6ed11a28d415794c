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
_REGISTRY: Final = "([a-z0-9-]+([.][a-z0-9-]+)+|[a-z0-9-]+:[0-9]+|localhost)(:[0-9]+)?"
"""A host as image references know one: by a dot, a port, or that name."""
_NAME: Final = "[a-z0-9]+((_|__|[.]|-+)[a-z0-9]+)*"
_TAG: Final = ":[A-Za-z0-9_][-.A-Za-z0-9_]{0,127}"
_DIGEST: Final = "@sha256:[0-9a-f]{64}"
_IMAGE: Final = f"{_REGISTRY}(/{_NAME})+({_TAG}|{_DIGEST}|{_TAG}{_DIGEST})"
_REPOSITORY: Final = "[A-Za-z0-9][-._A-Za-z0-9]*/[A-Za-z0-9][-._A-Za-z0-9]*"
_REVISION: Final = "[-._A-Za-z0-9]+"
_CLAIM: Final = "[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?"

PATTERN: Final = "|".join(
    (
        f"(s3|gs|az|https)://[^/@{_BLANK}]+/[^{_BLANK}]+",
        f"hf://{_REPOSITORY}(@{_REVISION})?/{_PATH}",
        f"oci://{_IMAGE}(/{_PATH})?",
        f"pvc://{_CLAIM}/{_PATH}",
    )
)
"""What a URI is as a whole."""

FORMS: Final = (
    "s3://bucket/path, gs://bucket/path, az://container/path, https://host/path, hf://owner/repository@revision/path, "
    "oci://registry/repository:tag/path or pvc://claim/path, without spaces, credentials or .. in it"
)

LATEST_IMAGE: Final = "oci://[^/]+/[^:@]+:latest(/.*)?"
"""A URI of an image by the tag that moves."""
MAIN_BRANCH: Final = "hf://[^/]+/[^/@]+(@main)?/.*"
"""A URI in a repository by the branch that moves."""

_IN_AN_IMAGE: Final = re.compile("oci://([^/]+/[^:@]+[:@][^/]+)/?(.*)", re.DOTALL)
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


@dataclass(frozen=True, slots=True)
class InImage:
    """A model in an image; its path within ends in / or is empty for a folder."""

    reference: str
    path: str


def in_image(uri: str) -> InImage | None:
    """What a valid URI says of an image; None if the model is not in one."""
    match = _IN_AN_IMAGE.fullmatch(uri)
    return InImage(match[1], match[2]) if match else None
