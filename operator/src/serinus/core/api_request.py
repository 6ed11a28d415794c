"""What a request to the Kubernetes API is counted as: its verb and its resource, as the API server names them."""

from typing import Final

_COLLECTIONS: Final = 1
"""Segments of a path below the namespace that name a collection; one more names an object, two a subresource."""


def verb_of(method: str, path: str, *, watches: bool = False, applies: bool = False) -> str:
    """GET, LIST, WATCH, POST, PUT, PATCH, APPLY or DELETE."""
    if method == "PATCH" and applies:
        return "APPLY"
    if method != "GET" or len(_below_the_version(path)) > _COLLECTIONS:
        return method
    return "WATCH" if watches else "LIST"


def resource_of(path: str) -> str:
    """The plural, with the subresource where there is one, such as `deployments/scale`; empty for discovery."""
    resource, _, subresource = (*_below_the_version(path), "", "", "")[:3]
    return f"{resource}/{subresource}" if subresource else resource


def namespace_of(path: str) -> str:
    """The namespace that a collection or an object is in; empty for a collection of all namespaces."""
    segments = _segments(path)
    return segments[1] if len(segments) > 2 and segments[0] == "namespaces" else ""  # noqa: PLR2004


def _below_the_version(path: str) -> list[str]:
    segments = _segments(path)
    return segments[2:] if len(segments) > 2 and segments[0] == "namespaces" else segments  # noqa: PLR2004


def _segments(path: str) -> list[str]:
    root, *segments = path.strip("/").split("/")
    return segments[1:] if root == "api" else segments[2:]
