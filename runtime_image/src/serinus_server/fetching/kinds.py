"""Which source a URI is of."""

from serinus_server.fetching.hub import HubSource
from serinus_server.fetching.object_store import KINDS, ObjectStoreSource
from serinus_server.fetching.source import Source
from serinus_server.fetching.uri import ModelUri
from serinus_server.fetching.web import WebSource


def source_of(uri: ModelUri, *, allow_http: bool) -> Source:
    """The source for a parsed URI."""
    if uri.scheme in KINDS:
        return ObjectStoreSource(uri, allow_http=allow_http)
    if uri.scheme == "hf":
        return HubSource(uri, allow_http=allow_http)
    return WebSource(uri, allow_http=allow_http)
