"""API keys: what the files may hold, whose a key is, and the command that makes one."""

import re
from hashlib import sha256
from pathlib import Path

import pytest

from serinus_server.api_keys import InvalidAPIKeysError, read_api_keys
from serinus_server.cli import main


def line(key: str) -> str:
    return f"sha256:{sha256(key.encode()).hexdigest()}"


def test_keys_name_their_clients(tmp_path: Path) -> None:
    (tmp_path / "web").write_text(
        f"# the shop\n\n{line('new')}  # since May\n{line('old').upper().replace('SHA', 'sha')}\r\n"
    )
    (tmp_path / "batch.job-1").write_text(line("other"))
    (tmp_path / ".hidden").write_text("not a key")
    (tmp_path / "nobody").write_text("# all revoked\n")
    keys = read_api_keys(tmp_path)
    owners = {key: keys.client(key.encode()) for key in ("new", "old", "other", "not a key", "", line("new"))}
    assert owners == {
        "new": "web",
        "old": "web",
        "other": "batch.job-1",
        "not a key": None,
        "": None,
        line("new"): None,
    }


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"web": "secret-key"}, "web, line 1: must be sha256: and 64 hex digits, which this is not"),
        ({"web": f"{line('a')}\n{line('b')[:-1]}"}, "web, line 2: must be sha256:"),
        ({"web": f"sha512:{'0' * 64}"}, "web, line 1: must be sha256:"),
        ({"a": line("k"), "b": line("k")}, "b: a key of this client is also a key of 'a'"),
    ],
)
def test_wrong_files_are_named(tmp_path: Path, files: dict[str, str], complaint: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(InvalidAPIKeysError) as caught:
        read_api_keys(tmp_path)
    assert complaint in str(caught.value)
    assert "secret-key" not in str(caught.value)  # it may be one that somebody put there by mistake


def test_a_key_is_made(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["api-key", "web", "--secret", "fraud-keys"])
    told = capfd.readouterr().out
    (key,) = re.findall(r"serinus_[-_A-Za-z0-9]{43}", told)
    assert f"kubectl create secret generic fraud-keys --from-literal=web={line(key)}" in told
    (tmp_path / "web").write_text(line(key))
    assert read_api_keys(tmp_path).client(key.encode()) == "web"


@pytest.mark.parametrize("name", ["", "..data", "a/b", "a b", "x" * 254])
def test_a_client_is_named_as_a_file_of_a_secret(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["api-key", name])
    assert caught.value.code == 2
    assert "must be letters, digits, - _ or ." in capsys.readouterr().err
