"""`serinus-server verify`: what a mounted volume has to hold, and how it reads if it does not."""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from serinus_server.cli import main
from serinus_server.failure import FatalError, Reason
from serinus_server.log import JsonLog
from serinus_server.verification import VerifyRequest, verify

FILES = {"model.onnx": b"model", "data/weights.bin": b"weights"}

Verify = Callable[..., tuple[int, str]]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def combined(files: dict[str, bytes]) -> str:
    """As the README's shell command prints it."""
    return sha256("".join(f"{sha256(files[name])}  {name}\n" for name in sorted(files)).encode())


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A volume with two versions of a model, and something beside it that is none of the volume's."""
    for version in ("6", "7"):
        for name, content in FILES.items():
            file = tmp_path / "volume" / "fraud" / version / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    (tmp_path / "outside.onnx").write_bytes(b"somebody else's")
    return tmp_path / "volume"


@pytest.fixture
def run(volume: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Verify:
    """Runs the command on the volume; returns the exit code and the termination message."""
    message = tmp_path / "termination-log"
    monkeypatch.setenv("SERINUS_TERMINATION_LOG", str(message))

    def command(path: str, *options: str) -> tuple[int, str]:
        message.unlink(missing_ok=True)
        with pytest.raises(SystemExit) as caught:
            main(["verify", str(volume), path, *options])
        return int(str(caught.value.code)), message.read_text() if message.exists() else ""

    return command


@pytest.mark.parametrize("path", ["fraud/7/model.onnx", "fraud/7/", "fraud/", "/"])
def test_what_is_there_is_found(run: Verify, path: str) -> None:
    assert run(path) == (0, "")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("fraud/8/model.onnx", "the volume has no fraud/8/model.onnx; fraud holds 6/, 7/"),
        ("fraud/7/model.onx", "the volume has no fraud/7/model.onx; fraud/7 holds data/, model.onnx"),
        ("risk/", "the volume has no risk; the volume holds fraud/"),
        ("fraud/7", "fraud/7 is a folder: end its URI in /"),
        ("fraud/7/model.onnx/", "fraud/7/model.onnx is a file: take the / from the end of its URI"),
        ("fraud/7/model.onnx/deeper", "the volume has no fraud/7/model.onnx/deeper; fraud/7 holds data/, model.onnx"),
    ],
)
def test_what_is_not_there_is_told_with_what_there_is(run: Verify, path: str, message: str) -> None:
    assert run(path) == (11, f"NotFound: {message}")


def test_nothing_is_mounted(tmp_path: Path, run: Verify, volume: Path) -> None:
    volume.rename(tmp_path / "elsewhere")
    assert run("fraud/7/") == (18, f"VolumeNotMounted: no volume is mounted at {volume}")


def test_a_file_that_is_no_regular_file(volume: Path, run: Verify) -> None:
    os.mkfifo(volume / "pipe.onnx")
    assert run("pipe.onnx") == (11, "NotFound: pipe.onnx is neither a file nor a folder")


@pytest.mark.parametrize(
    ("link", "target", "path"),
    [
        ("fraud/7/evil.onnx", "../../../outside.onnx", "fraud/7/evil.onnx"),
        ("fraud/7/evil.onnx", "../../../outside.onnx", "fraud/7/"),
        ("fraud/7/evil", "../../..", "fraud/7/"),
        ("fraud/7/evil", "../../..", "fraud/7/evil/"),
        ("fraud/7/evil", "../../..", "fraud/7/evil/outside.onnx"),
        ("fraud/7/evil.onnx", "/etc/hostname", "fraud/7/evil.onnx"),
    ],
)
def test_links_do_not_lead_out_of_the_volume(volume: Path, run: Verify, link: str, target: str, path: str) -> None:
    (volume / link).symlink_to(target)
    code, message = run(path)
    assert code == 10
    assert message.endswith(" leads out of the volume")
    assert message.startswith("InvalidURI: fraud/7/evil")


@pytest.mark.parametrize("path", ["../outside.onnx", "fraud/../../outside.onnx", ".."])
def test_a_path_does_not_lead_out_of_the_volume(run: Verify, path: str) -> None:
    assert run(path)[0] == 10


def test_links_within_the_volume_are_followed(volume: Path, run: Verify) -> None:
    (volume / "fraud" / "best").symlink_to("7")
    (volume / "fraud" / "7" / "same.onnx").symlink_to("model.onnx")
    assert run("fraud/best/model.onnx") == (0, "")
    assert run("fraud/best/", "--sha256", combined({**FILES, "same.onnx": b"model"})) == (0, "")


def test_links_in_a_circle_are_no_model(volume: Path, run: Verify) -> None:
    (volume / "round.onnx").symlink_to("round.onnx")
    assert run("round.onnx") == (11, "NotFound: the volume has no round.onnx; the volume holds fraud/, round.onnx")


def test_digest_mismatch(volume: Path, run: Verify) -> None:
    assert run("fraud/7/", "--sha256", combined(FILES).upper()) == (0, "")
    (volume / "fraud" / "7" / "data" / "weights.bin").write_bytes(b"other weights")
    digest = combined({**FILES, "data/weights.bin": b"other weights"})
    message = f"DigestMismatch: fraud/7 has sha256 {digest}, expected {combined(FILES)}"
    assert run("fraud/7/", "--sha256", combined(FILES)) == (14, message)


def test_a_file_counts_together_with_its_external_data(volume: Path, run: Verify) -> None:
    """Which lies beside it and is loaded with it, so that a digest without it would say little."""
    weights = np.arange(256, dtype=np.float32)
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [256])
    node = helper.make_node("Identity", ["w"], ["y"])
    graph = helper.make_graph([node], "constant", [], [output], [numpy_helper.from_array(weights, "w")])
    model = helper.make_model(graph)
    onnx.save(model, volume / "big.onnx", save_as_external_data=True, location="big.data", size_threshold=0)
    files = {name: (volume / name).read_bytes() for name in ("big.onnx", "big.data")}
    assert run("big.onnx", "--sha256", combined(files)) == (0, "")
    assert run("big.onnx", "--sha256", sha256(files["big.onnx"]))[0] == 14
    (volume / "big.data").write_bytes(files["big.data"][::-1])
    assert run("big.onnx", "--sha256", combined(files))[0] == 14


def test_a_file_whose_digest_is_asked_for_has_to_be_a_model(run: Verify) -> None:
    code, message = run("fraud/7/model.onnx", "--sha256", sha256(b"model"))
    assert code == 21
    assert "model.onnx (5 bytes) is not a whole ONNX model" in message


@pytest.fixture
def private() -> Iterator[Path]:
    """A folder that other users can reach, seen as such a user."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    with tempfile.TemporaryDirectory() as folder:
        volume = Path(folder)
        volume.chmod(0o755)
        (volume / "open.onnx").write_bytes(b"model")
        (volume / "closed.onnx").write_bytes(b"model")
        (volume / "closed.onnx").chmod(0o600)
        (volume / "lost+found").mkdir(mode=0o700)
        (volume / "lost+found" / "inode").write_bytes(b"no part of the model")
        os.seteuid(65532)
        try:
            yield volume
        finally:
            os.seteuid(0)


@pytest.mark.parametrize(("path", "shown"), [("closed.onnx", "closed.onnx"), ("lost+found/a", "lost+found"), ("", "c")])
def test_what_may_not_be_read_is_named(private: Path, path: str, shown: str) -> None:
    with pytest.raises(FatalError) as caught:
        verify(VerifyRequest(private, path, not path, None), JsonLog())
    assert caught.value.reason is Reason.ACCESS_DENIED
    assert str(caught.value).startswith(shown)
    assert "may not be read by user 65532 and group " in str(caught.value)


def test_a_folder_of_the_file_system_is_no_part_of_the_model(private: Path) -> None:
    os.seteuid(0)
    (private / "closed.onnx").unlink()
    os.seteuid(65532)
    verify(VerifyRequest(private, "", is_folder=True, sha256=sha256(b"model")), JsonLog())
