"""`serinus-server fetch` from a model hub: one commit, one token, and the list of a repository's files."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from serinus_server.failure import FatalError, Reason
from serinus_server.fetching import transfer
from serinus_server.fetching.uri import parse
from tests.unit.server.fetch_command import fetch_command
from tests.unit.server.local_server import local_server

COMMIT = "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567"
TOKEN = "hf_the_token"  # noqa: S105 - of no hub but this one
FILES = {"model.onnx": b"model", "onnx/model.onnx": b"small", "onnx/data/weights 1.bin": b"weights", "README.md": b"#"}


@dataclass
class Hub:
    """What it holds, what it was asked, and how it departs from the usual."""

    files: dict[str, bytes] = field(default_factory=lambda: dict(FILES))
    revisions: dict[str, str] = field(default_factory=lambda: {"main": COMMIT, "v1": COMMIT, COMMIT: COMMIT})
    is_private: bool = False
    page_size: int = 1000
    store: "str | None" = None
    """The server that files are sent for."""
    answers: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    """Paths, and the credentials that came with them."""
    url: str = ""


class _Handler(BaseHTTPRequestHandler):
    """Answers as the Hugging Face Hub does, of the one repository team/fraud."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        path, query = unquote(parts.path), parse_qs(parts.query)
        authorization = self.headers.get("Authorization")
        self.hub.requests.append((path, authorization))
        if path in self.hub.answers:
            self._answer(*self.hub.answers[path])
        elif self.hub.is_private and authorization != f"Bearer {TOKEN}":
            self._refuse(401, "RepoNotFound", "Repository not found")
        elif path.startswith("/api/models/team/fraud/revision/"):
            self._revision(path.rpartition("/")[2])
        elif path.startswith("/api/models/team/fraud/tree/"):
            self._tree(path.removeprefix("/api/models/team/fraud/tree/"), int(query.get("cursor", ["0"])[0]))
        elif path.startswith(f"/team/fraud/resolve/{COMMIT}/"):
            self._file(path.removeprefix(f"/team/fraud/resolve/{COMMIT}/"))
        else:
            self._refuse(401, "RepoNotFound", "Repository not found")

    def _revision(self, name: str) -> None:
        if name not in self.hub.revisions:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {name}")
        else:
            self._answer(200, {}, json.dumps({"sha": self.hub.revisions[name], "id": "team/fraud"}).encode())

    def _tree(self, place: str, cursor: int) -> None:
        commit, _, folder = place.partition("/")
        assert commit == COMMIT
        start = f"{folder}/" if folder else ""
        files = [path for path in sorted(self.hub.files) if path.startswith(start)]
        if not files:
            self._refuse(404, "EntryNotFound", f"{folder} does not exist on this revision")
            return
        entries = [{"type": "directory", "path": "onnx"}] if cursor == 0 else []
        entries += [{"type": "file", "path": path} for path in files[cursor : cursor + self.hub.page_size]]
        following = cursor + self.hub.page_size
        more = {"Link": f'<{self.hub.url}{self.path.partition("?")[0]}?cursor={following}>; rel="next"'}
        self._answer(200, more if following < len(files) else {}, json.dumps(entries).encode())

    def _file(self, path: str) -> None:
        if path not in self.hub.files:
            self._refuse(404, "EntryNotFound", "Entry not found")
        elif self.hub.store:
            self._answer(302, {"Location": f"{self.hub.store}/{path}?X-Signature=1"}, b"")
        else:
            self._answer(200, {}, self.hub.files[path])

    def _refuse(self, status: int, code: str, message: str) -> None:
        self._answer(status, {"X-Error-Code": code, "X-Error-Message": message}, b"")

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def started() -> Iterator[Callable[[], Hub]]:
    """Starts hubs, each a server of its own."""
    with ExitStack() as stack:

        def start() -> Hub:
            contents = Hub()
            contents.url = stack.enter_context(local_server(_Handler, hub=contents))
            return contents

        yield start


@pytest.fixture
def hub(started: Callable[[], Hub], monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The hub that HF_ENDPOINT names; nobody waits between tries."""
    contents = started()
    monkeypatch.setenv("HF_ENDPOINT", contents.url)
    monkeypatch.setenv("HF_ALLOW_HTTP", "true")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(transfer, "_FIRST_PAUSE_SECONDS", 0.01)
    return contents


@pytest.fixture
def fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """Runs the command into tmp_path/models; returns the exit code and the termination message."""
    return fetch_command(tmp_path, monkeypatch)


def left(tmp_path: Path) -> dict[str, bytes]:
    """Every file in the target folder, hidden and temporary ones too."""
    folder = tmp_path / "models"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


Fetch = Callable[..., tuple[int, str]]


@pytest.mark.parametrize("revision", ["", "@main", "@v1", f"@{COMMIT}"])
def test_a_file_is_fetched_at_the_commit_of_its_revision(tmp_path: Path, hub: Hub, fetch: Fetch, revision: str) -> None:
    digest = hashlib.sha256(b"small").hexdigest()
    assert fetch(f"hf://team/fraud{revision}/onnx/model.onnx", "--sha256", digest) == (0, "")
    assert left(tmp_path) == {"model.onnx": b"small"}
    asked = revision.removeprefix("@") or "main"
    assert [path for path, _ in hub.requests] == [
        f"/api/models/team/fraud/revision/{asked}",
        f"/team/fraud/resolve/{COMMIT}/onnx/model.onnx",
    ]


@pytest.mark.parametrize("page_size", [1000, 1])
def test_a_folder_is_fetched_whole(tmp_path: Path, hub: Hub, fetch: Fetch, page_size: int) -> None:
    hub.page_size = page_size
    assert fetch("hf://team/fraud@v1/onnx/") == (0, "")
    assert left(tmp_path) == {"model.onnx": b"small", "data/weights 1.bin": b"weights"}


def test_a_repository_is_a_folder(tmp_path: Path, hub: Hub, fetch: Fetch) -> None:
    assert fetch("hf://team/fraud@v1/") == (0, "")
    assert left(tmp_path) == FILES


def test_the_token_goes_to_the_hub_alone(
    tmp_path: Path, hub: Hub, started: Callable[[], Hub], fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which sends one elsewhere for large files, by a signed URL."""
    store = started()
    store.answers["/model.onnx"] = (200, {}, b"from the store")
    hub.store, hub.is_private = store.url, True
    monkeypatch.setenv("HF_TOKEN", f"{TOKEN}\n")
    assert fetch("hf://team/fraud@v1/model.onnx") == (0, "")
    assert left(tmp_path) == {"model.onnx": b"from the store"}
    assert {authorization for _, authorization in hub.requests} == {f"Bearer {TOKEN}"}
    assert store.requests == [("/model.onnx", None)]


def test_a_repository_that_has_moved_is_followed_with_the_token(
    tmp_path: Path, hub: Hub, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    moved = {"Location": "/api/models/team/fraud/revision/v1"}
    hub.answers["/api/models/team/old/revision/v1"] = (307, moved, b"")
    hub.answers[f"/team/old/resolve/{COMMIT}/m.onnx"] = (307, {"Location": f"/team/fraud/resolve/{COMMIT}/m.onnx"}, b"")
    hub.files["m.onnx"], hub.is_private = b"moved", True
    assert fetch("hf://team/old@v1/m.onnx") == (0, "")
    assert left(tmp_path) == {"m.onnx": b"moved"}


@pytest.mark.parametrize(
    ("uri", "code", "message"),
    [
        ("hf://team/none@v1/m.onnx", 12, "AccessDenied: {uri}: HTTP status 401 Unauthorized (Repository not found)"),
        ("hf://team/fraud@v9/m.onnx", 11, "NotFound: {uri}: HTTP status 404 Not Found (Invalid rev id: v9)"),
        ("hf://team/fraud@v1/none.onnx", 11, "NotFound: {uri}: HTTP status 404 Not Found (Entry not found)"),
        (
            "hf://team/fraud@v1/none/",
            11,
            "NotFound: {uri}: HTTP status 404 Not Found (none does not exist on this revision)",
        ),
    ],
)
def test_what_is_not_there_is_told_in_the_hubs_words(
    tmp_path: Path, hub: Hub, fetch: Fetch, uri: str, code: int, message: str
) -> None:
    assert fetch(uri) == (code, message.format(uri=uri))
    assert left(tmp_path) == {}


@pytest.mark.parametrize(
    "answer", [b"<html>a login page</html>", b"[]", b'{"id": "x"}', b'{"sha": "../../evil"}', b"null"]
)
def test_a_server_that_is_no_hub(hub: Hub, fetch: Fetch, answer: bytes) -> None:
    hub.answers["/api/models/team/fraud/revision/v1"] = (200, {}, answer)
    message = f"Unreachable: hf://team/fraud@v1/m.onnx: {hub.url} does not answer as a hub does"
    assert fetch("hf://team/fraud@v1/m.onnx") == (13, message)


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        ((200, {}, b'{"error": "no list"}'), 13, "does not answer as a hub does"),
        ((200, {}, b'["no entry"]'), 13, "does not answer as a hub does"),
        ((200, {}, b"[]"), 11, "there is no file under hf://team/fraud@v1/onnx/"),
        (
            (200, {"Link": '<http://elsewhere.example/>; rel="next"'}, b"[]"),
            13,
            "the hub's next page is at another host",
        ),
        ((200, {}, b'[{"type": "file", "path": "onnx/../evil"}]'), 10, "refused the object name '../evil'"),
    ],
)
def test_lists_of_files_that_are_none(
    tmp_path: Path, hub: Hub, fetch: Fetch, answer: tuple[int, dict[str, str], bytes], code: int, words: str
) -> None:
    hub.answers[f"/api/models/team/fraud/tree/{COMMIT}/onnx"] = answer
    answered, message = fetch("hf://team/fraud@v1/onnx/")
    assert (answered, words in message) == (code, True), message
    assert left(tmp_path) == {}


def test_a_list_without_an_end_is_given_up(hub: Hub, fetch: Fetch) -> None:
    place = f"/api/models/team/fraud/tree/{COMMIT}/onnx"
    hub.answers[place] = (200, {"Link": f'<{hub.url}{place}>; rel="next"'}, b"[]")
    code, message = fetch("hf://team/fraud@v1/onnx/")
    assert (code, message) == (15, "TooLarge: hf://team/fraud@v1/onnx/ holds more files than 100 pages list")


def test_an_unencrypted_hub_must_be_allowed(hub: Hub, fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_ALLOW_HTTP")
    message = f"InvalidURI: the hub {hub.url} is not encrypted; use https://, or set HF_ALLOW_HTTP=true"
    assert fetch("hf://team/fraud@v1/m.onnx") == (10, message)
    assert hub.requests == []


@pytest.mark.parametrize(
    "uri",
    [
        "hf://fraud/m.onnx",
        "hf://team/fraud",
        "hf://team/fraud@v1",
        "hf://team/fraud@/m.onnx",
        "hf://team/fraud@v1//m.onnx",
        "hf://team/fraud@v1/../m.onnx",
        "hf://team/../m.onnx",
    ],
)
def test_uris_that_are_refused(uri: str) -> None:
    with pytest.raises(FatalError) as caught:
        parse(uri, allow_http=False)
    assert caught.value.reason is Reason.INVALID_URI
