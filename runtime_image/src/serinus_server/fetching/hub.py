"""Model repositories of the Hugging Face Hub, or of a server that speaks as it does.

Through the web client rather than the hub's own library: three kinds of GET requests are all that it takes, and that
library brings ten others, follows redirects anywhere, and keeps what it fetches twice.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import quote, urlsplit

from serinus_server.failure import FatalError, Reason
from serinus_server.fetching.source import Download, Item
from serinus_server.fetching.uri import ModelUri
from serinus_server.fetching.web_client import WebClient, chunks, length_of

_PUBLIC_HUB: Final = "https://huggingface.co"
_DEFAULT_REVISION: Final = "main"
_LARGEST_LISTING: Final = 64 << 20
_MOST_PAGES: Final = 100


class HubSource:
    """A file or a folder of a repository at a revision.

    HF_ENDPOINT names another hub, HF_TOKEN the token for it, which goes to no other host. The revision is looked up
    once, so that all files are of one commit.
    """

    def __init__(self, uri: ModelUri, *, allow_http: bool) -> None:
        self._uri = uri
        repository, _, revision = uri.bucket.partition("@")
        self._repository, self._revision = quote(repository), quote(revision or _DEFAULT_REVISION, safe="")
        insecure = allow_http or os.environ.get("HF_ALLOW_HTTP", "").lower() in {"1", "true"}
        self._endpoint = (os.environ.get("HF_ENDPOINT") or _PUBLIC_HUB).rstrip("/")
        if urlsplit(self._endpoint).scheme not in ({"https", "http"} if insecure else {"https"}):
            message = f"the hub {self._endpoint} is not encrypted; use https://, or set HF_ALLOW_HTTP=true"
            raise FatalError(Reason.INVALID_URI, message)
        token = os.environ.get("HF_TOKEN", "").strip()
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = WebClient(allow_http=insecure)

    def items(self) -> list[Item]:
        """The file, or all files of the folder, sorted by name; each by the URL of its commit."""
        said, _ = self._asked(f"{self._endpoint}/api/models/{self._repository}/revision/{self._revision}")
        commit = str(said["sha"]) if isinstance(said, dict) and "sha" in said else ""
        if not commit.isalnum():
            raise self._unlike_a_hub()
        files = {self._uri.location: self._uri.file_name} if not self._uri.is_folder else self._listed(commit)
        if not files:
            raise FatalError(Reason.NOT_FOUND, f"there is no file under {self._uri.shown}")
        start = f"{self._endpoint}/{self._repository}/resolve/{commit}/"
        return [Item(start + quote(path), name) for path, name in sorted(files.items())]

    @contextmanager
    def open(self, item: Item) -> Iterator[Download]:
        """Start to read one file."""
        with self._client.get(item.location, self._uri.shown, self._headers) as response:
            yield Download(length_of(response), chunks(response, self._uri.shown))

    def _listed(self, commit: str) -> dict[str, str]:
        """The paths in the repository of the files of the folder, and their names in it."""
        folder = self._uri.location.strip("/")
        prefix = f"{folder}/" if folder else ""
        tree = f"{self._endpoint}/api/models/{self._repository}/tree/{commit}"
        page: str | None = f"{tree}/{quote(folder)}?recursive=true"
        files: dict[str, str] = {}
        for _ in range(_MOST_PAGES):
            if page is None:
                return files
            entries, page = self._asked(page)
            if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
                raise self._unlike_a_hub()
            paths = [str(entry.get("path", "")) for entry in entries if entry.get("type") == "file"]
            files |= {path: path.removeprefix(prefix) for path in paths if path.startswith(prefix)}
        raise FatalError(Reason.TOO_LARGE, f"{self._uri.shown} holds more files than {_MOST_PAGES} pages list")

    def _asked(self, url: str) -> tuple[Any, str | None]:
        """What the hub says at a URL, and the URL of the next page of it, if there is one."""
        with self._client.get(url, self._uri.shown, self._headers) as response:
            body = bytearray()
            for chunk in chunks(response, self._uri.shown):
                body += chunk
                if len(body) > _LARGEST_LISTING:
                    raise FatalError(Reason.TOO_LARGE, f"{self._uri.shown}: the list of its files is too long")
            following = _next_page(response.headers.get("Link", ""))
        if following is not None and not following.startswith(f"{self._endpoint}/"):
            raise FatalError(Reason.UNREACHABLE, f"{self._uri.shown}: the hub's next page is at another host")
        try:
            return json.loads(body), following
        except ValueError as error:
            raise self._unlike_a_hub() from error

    def _unlike_a_hub(self) -> FatalError:
        return FatalError(Reason.UNREACHABLE, f"{self._uri.shown}: {self._endpoint} does not answer as a hub does")


def _next_page(link: str) -> str | None:
    """The target of a Link header such as `<https://hub/page?cursor=2>; rel="next"`."""
    target, _, parameters = link.partition(">")
    return target.removeprefix("<") if 'rel="next"' in parameters else None
