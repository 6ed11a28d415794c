"""A file from an http or https server."""

from collections.abc import Iterator
from contextlib import contextmanager

from serinus_server.fetching.source import Download, Item
from serinus_server.fetching.uri import ModelUri
from serinus_server.fetching.web_client import WebClient, chunks, length_of


class WebSource:
    """One file from an http or https server."""

    def __init__(self, uri: ModelUri, *, allow_http: bool) -> None:
        self._uri = uri
        self._client = WebClient(allow_http=allow_http)

    def items(self) -> list[Item]:
        """The one file."""
        return [Item(self._uri.location, self._uri.file_name)]

    @contextmanager
    def open(self, item: Item) -> Iterator[Download]:
        """Start to read the file."""
        with self._client.get(item.location, self._uri.shown) as response:
            yield Download(length_of(response), chunks(response, self._uri.shown))
