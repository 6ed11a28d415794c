"""What a model URI means: a scheme that is served here, and one file or a whole folder."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

from serinus_server.failure import FatalError, Reason

_FORMS: Final = (
    "s3://bucket/key, gs://bucket/key, az://container/key, hf://owner/repository@revision/path or https://host/path"
)
_HUB: Final = re.compile(
    r"hf://(?P<bucket>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w.-]+)?)/(?P<path>.*)", re.ASCII | re.DOTALL
)


@dataclass(frozen=True)
class _Buckets:
    """What a store calls the place of its objects, and how such a place may be named."""

    called: str
    name: re.Pattern[str]


_STORES: Final[Mapping[str, _Buckets]] = {
    "s3": _Buckets("an S3 bucket", re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")),
    "gs": _Buckets("a Google Cloud Storage bucket", re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")),
    "az": _Buckets("an Azure container", re.compile(r"[a-z0-9](-?[a-z0-9]){2,62}|[$](root|web)")),
}


@dataclass(frozen=True)
class ModelUri:
    """A parsed URI.

    `location` is the object key for s3, gs and az (without a leading slash), the path in the repository for hf, whose
    `bucket` is owner/repository@revision, and the whole URL for http and https.
    """

    scheme: str
    bucket: str
    location: str
    is_folder: bool
    file_name: str

    @property
    def shown(self) -> str:
        """The URI for logs and messages: without a query, which may hold a signature."""
        if self.bucket:
            return f"{self.scheme}://{self.bucket}/{self.location}"
        parts = urlsplit(self.location)
        return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"


def parse(uri: str, *, allow_http: bool) -> ModelUri:
    """Parse a model URI.

    Raises FatalError(INVALID_URI) with what to change.
    """
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError as error:
        raise FatalError(Reason.INVALID_URI, f"{uri!r} is not a URI: {error}") from error
    if parts.scheme in _STORES:
        return _in_store(uri, parts.scheme, parts.netloc)
    if parts.scheme == "hf":
        return _on_hub(uri)
    if parts.scheme == "https" or (parts.scheme == "http" and allow_http):
        return _web(uri, parts.scheme, parts.path, parts.hostname, parts.username)
    if parts.scheme == "http":
        raise FatalError(Reason.INVALID_URI, "http:// is not encrypted; use https://, or allow it: --allow-http")
    raise FatalError(
        Reason.INVALID_URI,
        f"unknown scheme {parts.scheme!r} in {uri.partition('?')[0]!r}; use {_FORMS}",
    )


def _in_store(uri: str, scheme: str, bucket: str) -> ModelUri:
    # Not urlsplit's path: '?' and '#' are legal in an object key.
    start = f"{scheme}://{bucket}/"
    key = uri[len(start) :] if uri.startswith(start) else ""
    buckets = _STORES[scheme]
    if not buckets.name.fullmatch(bucket):
        raise FatalError(Reason.INVALID_URI, f"{bucket!r} is not the name of {buckets.called}; use {scheme}://NAME/key")
    if not key.strip("/"):
        raise FatalError(Reason.INVALID_URI, f"{uri!r} names no object; use {start}key")
    is_folder = key.endswith("/")
    return ModelUri(scheme, bucket, key, is_folder, "" if is_folder else file_name(key))


def _on_hub(uri: str) -> ModelUri:
    match = _HUB.fullmatch(uri)
    path = match["path"] if match else ""
    parts = path.removesuffix("/").split("/") if path else []
    if match is None or not {"", ".", ".."}.isdisjoint(parts):
        raise FatalError(Reason.INVALID_URI, f"{uri!r} is not hf://owner/repository@revision/path")
    is_folder = not path or path.endswith("/")
    return ModelUri("hf", match["bucket"], path, is_folder, "" if is_folder else file_name(path))


def _web(uri: str, scheme: str, path: str, host: str | None, user: str | None) -> ModelUri:
    if not host:
        raise FatalError(Reason.INVALID_URI, f"{uri.partition('?')[0]!r} names no host")
    if user is not None:
        raise FatalError(Reason.INVALID_URI, "a URI must not hold a user or password; use credentials")
    if path.endswith("/") or not path:
        raise FatalError(Reason.INVALID_URI, f"{scheme} has no folders: the URI must name one file")
    return ModelUri(scheme, "", uri, False, file_name(unquote(path)))


def file_name(path: str) -> str:
    """The last part of a path, as a name that is safe to create.

    Raises FatalError(INVALID_URI) for names that would leave the folder or hide.
    """
    name = path.rsplit("/", 1)[-1]
    if name in {"", ".", ".."} or name.startswith(".") or "\0" in name or "\\" in name:
        raise FatalError(Reason.INVALID_URI, f"{name!r} is not a usable file name")
    return name
