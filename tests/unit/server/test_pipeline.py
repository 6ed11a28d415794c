"""Several models served as one: found, checked, run, counted and shown."""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from serinus_server.batching import measure
from serinus_server.failure import FatalError, Reason
from serinus_server.loading import load, look_at
from serinus_server.metrics import Metrics
from serinus_server.model import Model
from serinus_server.model_files import find_model_files, parse_stages
from serinus_server.pipeline import Pipeline, StageFailedError
from serinus_server.warm_up import warm_up
from tests.unit.server import models
from tests.unit.server.serving import Serving, serving, tensor

STAGES = "preprocess=preprocess.onnx,model=sub/model.onnx,postprocess=postprocess.onnx"
GOOD = {"inputs": [tensor("pixels", "UINT8", [2, 4], [0, 51, 102, 255, 255, 255, 255, 0])]}


def preprocess() -> onnx.ModelProto:
    """pixels[n, 4] of UINT8 -> x[n, 4] = pixels / 255, and brightest[n]."""
    scale = numpy_helper.from_array(np.array(255, np.float32), "scale")
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["floats", "scale"], ["x"]),
        helper.make_node("ArgMax", ["pixels"], ["brightest"], axis=1, keepdims=0),
    ]
    inputs = [models.value("pixels", TensorProto.UINT8, ["n", 4])]
    outputs = [models.value("brightest", TensorProto.INT64, ["n"]), models.value("x", shape=["n", 4])]
    return models.build(nodes, inputs, outputs, [scale])


def postprocess() -> onnx.ModelProto:
    """y[rows, 3] -> label[rows], a word for the largest; bias[1] is added first and may be left out."""
    words = TensorProto(name="words", data_type=TensorProto.STRING, dims=[3], string_data=[b"low", b"mid", b"high"])
    bias = numpy_helper.from_array(np.zeros(1, np.float32), "bias")
    nodes = [
        helper.make_node("Add", ["y", "bias"], ["biased"]),
        helper.make_node("ArgMax", ["biased"], ["index"], axis=1, keepdims=0),
        helper.make_node("Gather", ["words", "index"], ["label"]),
    ]
    inputs = [models.value("y", shape=["rows", 3]), models.value("bias", shape=[1])]
    outputs = [models.value("label", TensorProto.STRING, ["rows"]), models.value("biased", shape=["rows", 3])]
    return models.build(nodes, inputs, outputs, [words, bias])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    models.save(preprocess(), tmp_path, "preprocess.onnx")
    models.save(models.mlp(), tmp_path / "sub")
    models.save(postprocess(), tmp_path, "postprocess.onnx")
    return tmp_path


def loaded(folder: Path, stages: str = STAGES) -> Model:
    files = find_model_files(folder, parse_stages(stages))
    return load([look_at(file) for file in files], "m", "1", intra_op_threads=1)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "'' is not a stage such as preprocess=preprocess.onnx"),
        ("a.onnx", "'a.onnx' is not a stage such as preprocess=preprocess.onnx"),
        ("a=", "'a=' is not a stage such as preprocess=preprocess.onnx"),
        ("a=1.onnx,", "'' is not a stage such as preprocess=preprocess.onnx"),
        ("A=1.onnx", "the name of stage 'A' must be lower case letters, digits and -, at most 63"),
        ("=1.onnx", "the name of stage '' must be lower case letters, digits and -, at most 63"),
        (f"{'a' * 64}=1.onnx", f"the name of stage '{'a' * 64}' must be lower case"),
        ("a=1.onnx,a=2.onnx", "two stages are named 'a'"),
    ],
)
def test_what_is_not_a_pipeline(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match="stage") as caught:
        parse_stages(text)
    assert str(caught.value).startswith(complaint)


@pytest.mark.parametrize(
    ("name", "reason", "complaint"),
    [
        ("/etc/hostname", Reason.MODEL_LOAD_FAILED, "'/etc/hostname' is outside the model's folder"),
        ("../secret.onnx", Reason.MODEL_LOAD_FAILED, "'../secret.onnx' is outside the model's folder"),
        ("sub/../preprocess.onnx", Reason.MODEL_LOAD_FAILED, "'sub/../preprocess.onnx' is outside the model's folder"),
        ("link.onnx", Reason.MODEL_LOAD_FAILED, "'link.onnx' is outside the model's folder"),
        ("linked/secret.onnx", Reason.MODEL_LOAD_FAILED, "'linked/secret.onnx' is outside the model's folder"),
        ("a\0b", Reason.MODEL_LOAD_FAILED, r"'a\x00b' is outside the model's folder"),
        ("sub", Reason.MODEL_NOT_FOUND, "'sub' is no file of"),
        (
            "model.onnx",
            Reason.MODEL_NOT_FOUND,
            "the .onnx files in it are link.onnx, postprocess.onnx, preprocess.onnx, sub/model.onnx",
        ),
    ],
)
def test_stages_are_files_of_the_folder(folder: Path, name: str, reason: Reason, complaint: str) -> None:
    outside = folder.parent / f"{folder.name}-outside"
    outside.mkdir()
    models.save(models.mlp(), outside, "secret.onnx")
    (folder / "linked").symlink_to(outside)
    (folder / "link.onnx").symlink_to(outside / "secret.onnx")
    with pytest.raises(FatalError) as caught:
        find_model_files(folder, {"preprocess": "preprocess.onnx", "model": name})
    assert caught.value.reason is reason
    assert str(caught.value).startswith("stage 'model': ")
    assert complaint in str(caught.value)


def test_a_pipeline_needs_a_folder(folder: Path) -> None:
    stages = {"model": "model.onnx"}
    with pytest.raises(FatalError, match=r"needs the folder of its stages, but .*preprocess\.onnx is a file"):
        find_model_files(folder / "preprocess.onnx", stages)
    with pytest.raises(FatalError, match=r"needs the folder of its stages, but .*nothing does not exist"):
        find_model_files(folder / "nothing", stages)


def test_a_link_within_the_folder_is_fine(folder: Path) -> None:
    (folder / "link.onnx").symlink_to("sub/model.onnx")
    assert find_model_files(folder, {"model": "link.onnx"})[0].path == folder / "link.onnx"


def test_the_digest_is_that_of_all_files(folder: Path) -> None:
    (folder / "postprocess.onnx").rename(folder / "sub/postprocess.onnx")
    model = loaded(folder, STAGES.replace("=post", "=sub/post"))
    names = ("preprocess.onnx", "sub/model.onnx", "sub/postprocess.onnx")
    manifest = "".join(f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names)
    assert model.digest == hashlib.sha256(manifest.encode()).hexdigest()


def test_a_pipeline_takes_what_the_first_stages_take_and_gives_what_the_last_one_gives(folder: Path) -> None:
    model = loaded(folder)
    assert {name: spec.shape for name, spec in model.signature.inputs.items()} == {"pixels": ("n", 4), "bias": (1,)}
    assert list(model.signature.outputs) == ["label", "biased"]
    pixels = {"pixels": np.array([[0, 51, 102, 255]], np.uint8)}
    label, biased = model.run(pixels, ["label", "biased"])
    assert label.tolist() == ["high"]
    (alone,) = model.run({**pixels, "bias": np.array([1], np.float32)}, ["biased"])
    assert np.array_equal(alone, biased + 1)


def test_only_what_is_needed_of_a_stage_is_asked_for(folder: Path) -> None:
    pipeline = loaded(folder).session
    assert isinstance(pipeline, Pipeline)
    assert [list(stage.gives) for stage in pipeline.stages] == [["x"], ["y"], ["label", "biased"]]


def test_a_failure_names_its_stage(tmp_path: Path) -> None:
    models.save(models.lookup(), tmp_path, "lookup.onnx")
    models.save(
        models.build([helper.make_node("Neg", ["y"], ["z"])], [models.value("y")], [models.value("z")]), tmp_path
    )
    model = loaded(tmp_path, "lookup=lookup.onnx,negate=model.onnx")
    with pytest.raises(StageFailedError, match=r"stage 'lookup': .*indices element out of data bounds"):
        model.run({"i": np.array([10])}, ["z"])


def test_a_stopped_run_ends_in_whichever_stage_it_is(folder: Path) -> None:
    options = onnxruntime.RunOptions()
    options.terminate = True
    with pytest.raises(StageFailedError, match="stage 'preprocess': Exiting due to terminate flag"):
        loaded(folder).run({"pixels": np.zeros((1, 4), np.uint8)}, ["label"], options)


def test_a_late_request_stops_the_stage_that_it_is_in(tmp_path: Path) -> None:
    models.save(models.slow(20_000_000), tmp_path, "slow.onnx")
    node = helper.make_node("Neg", ["y"], ["z"])
    models.save(models.build([node], [models.value("y", shape=[1])], [models.value("z", shape=[1])]), tmp_path)
    stages = ("--pipeline", "slow=slow.onnx,negate=model.onnx")
    with serving(tmp_path, *stages, "--request-timeout", "200ms", "--skip-warm-up") as server:
        status, reply = server.infer({"inputs": [tensor("x", "FP32", [1], [1])]})
        assert (status, reply["error"]) == (504, "the model did not answer within 0.2 s")
        assert server.metric("serinus_stage_duration_seconds_count", stage="slow") == 0
        assert server.metric("serinus_stage_duration_seconds_count", stage="negate") == 0


def test_the_rows_of_a_batch_go_through_all_stages(tmp_path: Path) -> None:
    models.save(models.wide_mlp(), tmp_path, "model.onnx")
    nodes = [helper.make_node("ArgMax", ["y"], ["label"], axis=1, keepdims=0)]
    inputs, outputs = [models.value("y", shape=["n", 10])], [models.value("label", TensorProto.INT64, ["n"])]
    models.save(models.build(nodes, inputs, outputs), tmp_path, "label.onnx")
    model = loaded(tmp_path, "model=model.onnx,label=label.onnx")
    batching = measure(model.session, model.signature, warm_up(model.session, model.signature))
    assert batching.pays, batching.explanation


def test_stages_are_counted_from_zero_and_from_any_thread() -> None:
    metrics = Metrics("svc", "abc", "7", stages=["pre", "model"])
    labels = 'inferenceservice="svc",revision="abc",stage="{}",version="7"'

    def value(suffix: str, stage: str) -> str:
        start = f"serinus_stage_duration_seconds_{suffix}{{{labels.format(stage)}}} "
        (line,) = (line for line in metrics.expose().decode().splitlines() if line.startswith(start))
        return line.removeprefix(start)

    assert (value("count", "pre"), value("count", "model")) == ("0.0", "0.0")
    metrics.stage_ran("model", 0.25)
    metrics.stage_ran("model", 0.5)
    assert (value("count", "pre"), value("count", "model"), value("sum", "model")) == ("0.0", "2.0", "0.75")
    assert b"serinus_stage_duration_seconds" not in Metrics("svc", "abc", "7").expose()


@pytest.fixture
def server(folder: Path) -> Iterator[Serving]:
    with serving(folder, "--pipeline", STAGES) as started:
        yield started


def test_a_pipeline_is_served_as_one_model(server: Serving) -> None:
    status, reply = server.infer(GOOD)
    assert status == 200
    assert [output["name"] for output in reply["outputs"]] == ["label", "biased"]
    assert reply["outputs"][0]["data"] == ["high", "high"]
    _, metadata = server.get("/v2/models/m")
    assert [each["name"] for each in metadata["inputs"]] == ["pixels"]
    status, reply = server.infer({"inputs": [tensor("x", "FP32", [1, 4], [0, 0, 0, 0])]})
    assert (status, reply["error"]) == (400, "there is no input 'x'; the inputs are 'pixels', 'bias'")
    for stage in ("preprocess", "model", "postprocess"):
        # The runs of the warm-up are not requests.
        assert server.metric("serinus_stage_duration_seconds_count", stage=stage) == 1
        assert 0 < server.metric("serinus_stage_duration_seconds_sum", stage=stage) < 1
    assert [line["stage"] for line in server.log if line["message"] == "loading"] == [
        "preprocess",
        "model",
        "postprocess",
    ]


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (models.custom_operator, "ModelLoadFailed: stage 'model': model.onnx needs custom operators of 'evil.example'"),
        (
            models.lookup,
            "ModelLoadFailed: the pipeline does not fit together: stage 'postprocess' takes 'y' as a FP32 tensor of "
            "shape [rows, 3], but stage 'model' gives a FP32 tensor of shape [n]",
        ),
    ],
)
def test_a_pipeline_that_cannot_be_served_ends_the_process_and_says_why(folder: Path, make: object, line: str) -> None:
    assert callable(make)
    models.save(make(), folder / "sub")
    with serving(folder, "--pipeline", STAGES, wait=False) as server:
        assert server.exit_code() == 21
        assert server.termination_log.read_text().startswith(line)


def test_inspect_shows_the_stages(folder: Path) -> None:
    command = [sys.executable, "-c", "from serinus_server.cli import main; main()", "inspect", str(folder)]
    report = subprocess.run([*command, "--pipeline", STAGES], capture_output=True, text=True, check=True).stdout
    shown = [" ".join(line.split()) for line in report.splitlines() if not line.startswith(("size", "run", "digest"))]
    assert shown == [
        "stage preprocess",
        f"file {folder}/preprocess.onnx",
        "opset ai.onnx 17",
        "input pixels: UINT8 [n, 4]",
        "output brightest: INT64 [n]",
        "output x: FP32 [n, 4]",
        "",
        "stage model",
        f"file {folder}/sub/model.onnx",
        "opset ai.onnx 17",
        "input x: FP32 [batch, 4]",
        "output y: FP32 [batch, 3]",
        "",
        "stage postprocess",
        f"file {folder}/postprocess.onnx",
        "opset ai.onnx 17",
        "input y: FP32 [rows, 3]",
        "input bias: FP32 [1], may be left out",
        "output label: BYTES [rows]",
        "output biased: FP32 [rows, 3]",
        "",
        "input pixels: UINT8 [n, 4]",
        "input bias: FP32 [1], may be left out",
        "output label: BYTES [rows]",
        "output biased: FP32 [rows, 3]",
        "",
        f"serinus-server serve {folder} --pipeline {STAGES}",
        f"curl -sS localhost:8080/v2/models/{folder.name}/infer "
        """-d '{"inputs":[{"name":"pixels","datatype":"UINT8","shape":[1,4],"data":[0,0,0,0]}]}'""",
    ]
    assert sum(line.startswith("run ") for line in report.splitlines()) == 4
