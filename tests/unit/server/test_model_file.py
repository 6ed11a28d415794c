"""From a path to a model: which file, what goes in and out, and how failures read."""

import stat
from pathlib import Path

import pytest

from serinus_server import probe
from serinus_server.digest import file_digest
from serinus_server.failure import FatalError, Reason
from serinus_server.model import open_session, read_signature
from serinus_server.model_files import ModelFile, files_digest, find_model_file
from serinus_server.warm_up import warm_up
from tests.unit.server import models


def test_which_file_is_meant(tmp_path: Path) -> None:
    def meant() -> str:
        return str(find_model_file(tmp_path).relative_to(tmp_path))

    with pytest.raises(FatalError, match=r"there is no \.onnx file in") as caught:
        meant()
    assert caught.value.reason is Reason.MODEL_NOT_FOUND
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/a.onnx").touch()
    assert meant() == "sub/a.onnx"
    (tmp_path / "b.onnx").touch()
    with pytest.raises(FatalError, match=r"holds 2 models \(b\.onnx, sub/a\.onnx\); name one model\.onnx"):
        meant()
    (tmp_path / "model.onnx").touch()
    assert meant() == "model.onnx"
    assert find_model_file(tmp_path / "b.onnx") == tmp_path / "b.onnx"
    with pytest.raises(FatalError, match="does not exist"):
        find_model_file(tmp_path / "c.onnx")


def test_digest_covers_external_data(tmp_path: Path) -> None:
    path = models.save(models.with_external_data("w.bin"), tmp_path)
    weights = tmp_path / "w.bin"
    weights.write_bytes(bytes(8))
    assert files_digest(tmp_path, ["model.onnx"], []) == file_digest(path)
    before = files_digest(tmp_path, ["model.onnx"], [weights])
    weights.write_bytes(bytes(7) + b"\x01")
    assert before != files_digest(tmp_path, ["model.onnx"], [weights]) != file_digest(path)


def test_signature_leaves_out_what_the_protocol_lacks(tmp_path: Path) -> None:
    session = open_session(models.save(models.map_output(), tmp_path), 1)
    signature = read_signature(session, [])
    assert list(signature.outputs) == ["label"]
    assert signature.unsupported_outputs == {"probabilities": "seq(map(int64,tensor(float)))"}


def test_optional_and_open_inputs(tmp_path: Path) -> None:
    bias = read_signature(open_session(models.save(models.optional_input(), tmp_path), 1), []).inputs["bias"]
    assert (bias.optional, bias.shape) == (True, (1,))
    session = open_session(models.save(models.any_rank(), tmp_path), 1)
    assert read_signature(session, {"x"}).inputs["x"].shape is None
    assert read_signature(session, []).inputs["x"].shape == ()


def test_warm_up_measures(tmp_path: Path) -> None:
    session = open_session(models.save(models.mlp(), tmp_path), 1)
    warmed = warm_up(session, read_signature(session, []))
    assert warmed.feeds["x"].shape == (1, 4)
    assert warmed.elements == 4
    assert 0 < warmed.run_seconds < 0.1


def examine(path: Path) -> FatalError:
    with pytest.raises(FatalError) as caught:
        probe.examine([ModelFile(path.parent, path.name)], warm_up=True)
    return caught.value


def test_probe_names_what_is_wrong(tmp_path: Path) -> None:
    failure = examine(models.save(models.never_runs(), tmp_path))
    assert failure.reason is Reason.WARM_UP_FAILED
    assert "the model fails on every made-up input" in str(failure)
    assert "onnxruntime_src" not in str(failure)
    path = tmp_path / "model.onnx"
    path.write_bytes(path.read_bytes()[:-30])
    assert examine(path).reason is Reason.MODEL_LOAD_FAILED


@pytest.mark.parametrize(
    ("says", "reason", "message"),
    [
        (
            '{"doing": "loading model.onnx"}',
            Reason.MODEL_LOAD_FAILED,
            "loading model.onnx crashed the runtime (SIGSEGV)",
        ),
        (
            '{"files": [], "doing": "running model.onnx"}',
            Reason.WARM_UP_FAILED,
            "running model.onnx crashed the runtime (SIGSEGV)",
        ),
    ],
)
def test_a_crash_is_a_failure_with_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, reason: Reason, message: str
) -> None:
    crashing = tmp_path / "python"
    crashing.write_text(f"#!/bin/sh\necho '{says}'\nkill -SEGV $$\n")
    crashing.chmod(crashing.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr("sys.executable", str(crashing))
    failure = examine(tmp_path / "model.onnx")
    assert (failure.reason, str(failure)) == (reason, message)
