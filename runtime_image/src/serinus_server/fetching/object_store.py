"""Object stores, through obstore: S3, Google Cloud Storage and Azure Blob Storage."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Any, Final

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import AzureStore, GCSStore, S3Store

from serinus_server.failure import FatalError, Reason
from serinus_server.fetching import source
from serinus_server.fetching.obstore_error import explained, status_of
from serinus_server.fetching.source import Download, Item, reason_of_status
from serinus_server.fetching.uri import ModelUri


@dataclass(frozen=True)
class Kind:
    """A kind of store, and the environment variables that say how to get at it; obstore reads them itself."""

    name: str
    endpoint: str
    allow_http: str
    credentials: tuple[str, ...]
    """With none of them set, requests are anonymous: asking a cloud's metadata service for the node's own identity is
    not something that a model's pod should do."""
    store: type[S3Store] | type[GCSStore] | type[AzureStore]
    required: Mapping[str, str]
    """Variables that have to be set, and what each of them says."""


KINDS: Final[Mapping[str, Kind]] = {
    "s3": Kind(
        name="S3",
        endpoint="AWS_ENDPOINT_URL",
        allow_http="AWS_ALLOW_HTTP",
        credentials=(
            "AWS_ACCESS_KEY_ID",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        ),
        store=S3Store,
        required={},
    ),
    "gs": Kind(
        name="Google Cloud Storage",
        endpoint="GOOGLE_BASE_URL",
        allow_http="GOOGLE_ALLOW_HTTP",
        credentials=(
            "GOOGLE_SERVICE_ACCOUNT_KEY",
            "GOOGLE_SERVICE_ACCOUNT",
            "GOOGLE_SERVICE_ACCOUNT_PATH",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "GOOGLE_BEARER_TOKEN",
        ),
        store=GCSStore,
        required={},
    ),
    "az": Kind(
        name="Azure",
        endpoint="AZURE_STORAGE_ENDPOINT",
        allow_http="AZURE_ALLOW_HTTP",
        credentials=(
            "AZURE_STORAGE_ACCOUNT_KEY",
            "AZURE_STORAGE_ACCESS_KEY",
            "AZURE_STORAGE_MASTER_KEY",
            "AZURE_STORAGE_SAS_KEY",
            "AZURE_STORAGE_SAS_TOKEN",
            "AZURE_STORAGE_TOKEN",
            "AZURE_STORAGE_CLIENT_SECRET",
            "AZURE_CLIENT_SECRET",
            "AZURE_FEDERATED_TOKEN_FILE",
        ),
        store=AzureStore,
        required={"AZURE_STORAGE_ACCOUNT_NAME": "the storage account that the container is in"},
    ),
}
"""The kinds of stores by the schemes of their URIs."""


class ObjectStoreSource:
    """A bucket, or what its store calls one."""

    def __init__(self, uri: ModelUri, *, allow_http: bool) -> None:
        self._uri = uri
        kind = KINDS[uri.scheme]
        for name, meaning in kind.required.items():
            if not os.environ.get(name):
                raise FatalError(Reason.INVALID_URI, f"{uri.scheme}:// needs {name}: {meaning}")
        insecure = allow_http or os.environ.get(kind.allow_http, "").lower() in {"1", "true"}
        endpoint = os.environ.get(kind.endpoint, "")
        if endpoint.startswith("http://") and not insecure:
            advice = f"use https://, or set {kind.allow_http}=true"
            raise FatalError(Reason.INVALID_URI, f"the {kind.name} endpoint {endpoint} is not encrypted; {advice}")
        anonymous = not any(name in os.environ for name in kind.credentials)
        options: dict[str, Any] = {
            "config": {"skip_signature": True} if anonymous else {},
            "client_options": {
                "allow_http": insecure,
                "connect_timeout": timedelta(seconds=source.CONNECT_TIMEOUT_SECONDS),
                "read_timeout": timedelta(seconds=source.READ_TIMEOUT_SECONDS),
                "timeout": timedelta(days=1),
            },
            "retry_config": {"max_retries": 0, "retry_timeout": timedelta(minutes=3)},
        }
        try:
            self._store = kind.store(uri.bucket, **options)
        except (BaseError, ValueError) as error:
            raise FatalError(Reason.INVALID_URI, f"the {kind.name} settings do not work: {explained(error)}") from error

    def items(self) -> list[Item]:
        """The object, or everything under the prefix, sorted by name."""
        if not self._uri.is_folder:
            return [Item(self._uri.location, self._uri.file_name)]
        prefix = self._uri.location.rstrip("/") + "/"
        sizes: dict[str, int] = {}
        try:
            for batch in obstore.list(self._store, prefix=prefix):
                sizes |= {meta["path"]: meta["size"] for meta in batch}
        except (BaseError, OSError) as error:
            raise self._failure(error, Reason.UNREACHABLE, self._uri.location) from error
        # Consoles create "folders" as empty objects whose trailing slash is lost in the listing.
        folders = {str(parent) for path in sizes for parent in PurePosixPath(path).parents}
        files = sorted(
            path for path, size in sizes.items() if path.startswith(prefix) and not (size == 0 and path in folders)
        )
        if not files:
            raise FatalError(Reason.NOT_FOUND, f"there is no object under {self._uri.shown}")
        return [Item(path, path.removeprefix(prefix)) for path in files]

    @contextmanager
    def open(self, item: Item) -> Iterator[Download]:
        """Start to read one object."""
        try:
            result = obstore.get(self._store, item.location)
        except (BaseError, OSError) as error:
            raise self._failure(error, Reason.UNREACHABLE, item.location) from error
        yield Download(result.meta["size"], self._chunks(result, item.location))

    def _chunks(self, result: "obstore.GetResult", key: str) -> Iterator[bytes]:
        try:
            for chunk in result.stream(min_chunk_size=source.CHUNK_BYTES):
                yield bytes(chunk)
        except (BaseError, OSError) as error:
            raise self._failure(error, Reason.TRANSFER_FAILED, key) from error

    def _failure(self, error: Exception, otherwise: Reason, key: str) -> FatalError:
        status = status_of(error)
        reason = otherwise
        if isinstance(error, FileNotFoundError):
            reason = Reason.NOT_FOUND
        elif isinstance(error, PermissionDeniedError | UnauthenticatedError):
            reason = Reason.ACCESS_DENIED
        elif status is not None:
            reason = reason_of_status(status, otherwise)
        return FatalError(reason, f"{self._uri.scheme}://{self._uri.bucket}/{key}: {explained(error)}")
