"""The command line: what it takes, what it refuses, and how a container says why it ended."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import helper

from serinus_server import __version__
from serinus_server.cli import main
from serinus_server.failure import FatalError, Reason, write_termination_message
from tests.unit.server import models
from tests.unit.server.serving import Serving, serving


def ending(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    return int(str(caught.value.code or 0))


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert ending("--version") == 0
    assert capsys.readouterr().out == f"serinus-server {__version__}\n"


SERVE = ("serve", "--model-path", "/m", "--model-name", "m", "--model-version", "1")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "the following arguments are required: COMMAND"),
        (("dance",), "invalid choice: 'dance'"),
        (("serve",), "one of the arguments MODEL --model-path is required"),
        (("serve", "a.onnx", "--model-path", "b.onnx"), "argument --model-path: not allowed with argument MODEL"),
        (("inspect",), "the following arguments are required: MODEL"),
        ((*SERVE, "--http-port", "70000"), "'70000' is not a port"),
        ((*SERVE, "--grpc-port", "on"), "'on' is not a port"),
        ((*SERVE, "--request-timeout", "5 minutes"), "'5 minutes' is not a duration such as 500ms, 5s or 1m"),
        ((*SERVE, "--request-timeout", "0s"), "must be more than 0"),
        ((*SERVE, "--max-body-size", "16MB"), "'16MB' is not a size in bytes such as 1048576, 512Ki or 16Mi"),
        ((*SERVE, "--max-in-flight", "0"), "'0' is not a whole number of at least 1"),
        ((*SERVE, "--workers", "0"), "'0' is not a whole number of at least 1, or auto"),
        ((*SERVE, "--access-log", "some"), "'some' is none of all, errors, off"),
        ((*SERVE, "--model-name", ""), "must not be empty"),
        (("fetch", "s3://b/k"), "the following arguments are required: DIR"),
        (("fetch", "s3://b/k", "d", "--sha256", "abc"), "'abc' is not a SHA-256: 64 hex digits"),
    ],
)
def test_wrong_arguments_are_explained(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], complaint: str
) -> None:
    assert ending(*arguments) == 2
    assert complaint in capsys.readouterr().err


def test_wrong_settings_from_the_environment_are_explained(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERINUS_DRAIN_DELAY", "soon")
    assert ending(*SERVE) == 2
    assert "argument --drain-delay: 'soon' is not a duration" in capsys.readouterr().err
    monkeypatch.setenv("SERINUS_DRAIN_DELAY", "1s")
    monkeypatch.setenv("SERINUS_ACCESS_LOG", "some")
    assert ending(*SERVE) == 2
    assert "argument --access-log: 'some' is none of all, errors, off" in capsys.readouterr().err


def test_exit_codes_and_their_names() -> None:
    assert {reason.wire_name: reason.value for reason in Reason} == {
        "InvalidURI": 10,
        "NotFound": 11,
        "AccessDenied": 12,
        "Unreachable": 13,
        "DigestMismatch": 14,
        "TooLarge": 15,
        "NoSpace": 16,
        "TransferFailed": 17,
        "VolumeNotMounted": 18,
        "ModelNotFound": 20,
        "ModelLoadFailed": 21,
        "WarmUpFailed": 22,
        "InvalidPolicy": 23,
        "InvalidAPIKeys": 24,
        "InvalidCertificate": 25,
    }


def test_termination_message_is_one_short_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    monkeypatch.setenv("SERINUS_TERMINATION_LOG", str(path))
    write_termination_message(FatalError(Reason.NOT_FOUND, "two\nlines " + "é" * 4000).line)
    text = path.read_text()
    assert text.startswith("NotFound: two lines é")
    assert "\n" not in text
    assert len(text.encode()) <= 4096
    write_termination_message(FatalError(Reason.NO_SPACE, "full").line)
    assert path.read_text() == "NoSpace: full"
    monkeypatch.setenv("SERINUS_TERMINATION_LOG", str(tmp_path / "missing/log"))
    write_termination_message(FatalError(Reason.NO_SPACE, "full").line)  # nobody to tell: no reason to crash


def truncated(folder: Path) -> Path:
    path = models.save(models.mlp(), folder)
    path.write_bytes(path.read_bytes()[:-40])
    return path


def not_onnx(folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_text("<html>404 Not Found</html>")
    return path


def missing(folder: Path) -> Path:
    return folder / "model.onnx"


def never_runs(folder: Path) -> Path:
    return models.save(models.never_runs(), folder)


@pytest.mark.parametrize(
    ("make", "code", "line"),
    [
        (missing, 20, "ModelNotFound: "),
        (
            truncated,
            21,
            "ModelLoadFailed: model.onnx (127 bytes) is not a whole ONNX model: a field would end at byte 161",
        ),
        (not_onnx, 21, "ModelLoadFailed: model.onnx (26 bytes) is not a whole ONNX model"),
        (never_runs, 22, "WarmUpFailed: the model fails on every made-up input"),
    ],
)
def test_a_model_that_cannot_be_served_ends_the_process_and_says_why(
    tmp_path: Path, make: Callable[[Path], Path], code: int, line: str
) -> None:
    with serving(make(tmp_path), wait=False) as server:
        assert server.exit_code() == code
        assert server.termination_log.read_text().startswith(line)
        assert server.log[-1]["level"] == "error"
        assert server.log[-1]["message"] == server.termination_log.read_text()


def test_a_taken_port_is_a_clear_error(tmp_path: Path) -> None:
    model = models.save(models.mlp(), tmp_path)
    with serving(model) as first, serving(model, "--http-port", str(first.port), wait=False) as second:
        assert second.exit_code() == 1
        assert "already in use" in second.log[-1]["message"]


def run(*arguments: str) -> str:
    """What a command writes on stdout."""
    command = [sys.executable, "-c", "from serinus_server.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_serving_a_file_by_its_path_alone(tmp_path: Path) -> None:
    model = models.save(models.mlp(), tmp_path, "digits.onnx")
    command = [sys.executable, "-c", "from serinus_server.cli import main; main()"]
    process = subprocess.Popen([*command, "serve", str(model), "--http-port", "0"], stderr=subprocess.PIPE)
    server = Serving(process, tmp_path / "none")
    server.follow()
    try:
        ready = server.wait_for("ready")
        assert (ready["model"], ready["version"]) == ("digits", "1")
        assert server.get("/v2/models/digits/versions/1/ready")[0] == 200
    finally:
        process.terminate()
        process.send_signal(signal.SIGINT)  # asked twice: at once
        server.exit_code()
        assert process.stderr is not None
        process.stderr.close()


def test_inspect(tmp_path: Path) -> None:
    model = models.save(models.mlp(), tmp_path, "digits.onnx")
    lines = run("inspect", str(model)).splitlines()
    size = model.stat().st_size
    assert lines[:6] == [
        f"file      {model}",
        f"size      {size} bytes",
        "opset     ai.onnx 17",
        f"digest    {hashlib.sha256(model.read_bytes()).hexdigest()}",
        "input     x: FP32 [batch, 4]",
        "output    y: FP32 [batch, 3]",
    ]
    assert lines[-2:] == [
        f"serinus-server serve {model}",
        "curl -sS localhost:8080/v2/models/digits/infer "
        """-d '{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"data":[0.0,0.0,0.0,0.0]}]}'""",
    ]


def wide() -> onnx.ModelProto:
    """Too many elements for an example in JSON: x[batch, 1000] and a text."""
    nodes = [helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Identity", ["t"], ["u"])]
    text = onnx.TensorProto.STRING
    inputs = [models.value("x", shape=["batch", 1000]), models.value("t", text, [1])]
    return models.build(nodes, inputs, [models.value("y", shape=["batch", 1000]), models.value("u", text, [1])])


@pytest.mark.parametrize(
    "make",
    [
        models.mlp,
        models.every_type,
        models.lookup,
        models.any_rank,
        models.map_output,
        wide,
    ],
)
def test_the_example_of_inspect_works(tmp_path: Path, make: Callable[[], onnx.ModelProto]) -> None:
    model = models.save(make(), tmp_path, "m.onnx")
    example = run("inspect", str(model)).splitlines()[-1]
    with serving(model) as server:
        command = example.replace("localhost:8080", f"127.0.0.1:{server.port}")
        answer = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True).stdout
    reply = json.loads(answer)
    assert "outputs" in reply or "JSON has no such number" in reply["error"]


def test_fetch_does_not_load_the_runtime() -> None:
    """An init container has little memory, and starts with every pod."""
    code = (
        "import sys; import serinus_server.cli, serinus_server.fetching.transfer; "
        "sys.exit('onnxruntime' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], env=dict(os.environ), check=False).returncode == 0
