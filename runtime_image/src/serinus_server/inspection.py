"""`serinus-server inspect`: what a model takes and gives, and a request that it answers."""

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import orjson

from serinus_server.loading import SafeFile, load
from serinus_server.model import Model, Signature, Tensor, TensorSpec
from serinus_server.model_files import find_model_files
from serinus_server.onnx_file import read_outline
from serinus_server.pipeline import Pipeline
from serinus_server.probe import examine
from serinus_server.warm_up import warm_up
from serinus_server.wording import shown_shape

_MAX_JSON_ELEMENTS: Final = 64
_COLUMN: Final = 10
_ADDRESS: Final = "localhost:8080"


def inspect(path: Path, stages: Mapping[str, str], name: str, version: str) -> str:
    """The report on a model file, or on a folder's model or pipeline, as lines of text.

    Raises FatalError if it cannot be served.
    """
    files = find_model_files(path, stages)
    examined = examine(files, warm_up=True)
    model = load(examined, name, version, intra_op_threads=1)
    times: dict[str, float] = {}
    session = model.session.observed(times.__setitem__) if isinstance(model.session, Pipeline) else model.session
    warmed = warm_up(session, model.signature)
    lines: list[str] = []
    for safe in examined:
        lines += [*([""] if lines else []), *_file(safe)]
        if isinstance(model.session, Pipeline):
            stage = next(stage for stage in model.session.stages if stage.name == safe.file.stage)
            lines += [*_tensors(stage.signature), _line("run", _milliseconds(times[stage.name]))]
    lines += [""] if stages else []
    lines += [
        _line("digest", model.digest),
        *_tensors(model.signature),
        _line("run", f"{_milliseconds(warmed.run_seconds)} on a made-up input, with one thread"),
        "",
        _command(path, stages),
        example(model, warmed.feeds),
    ]
    return "\n".join(lines) + "\n"


def _file(safe: SafeFile) -> Iterator[str]:
    file = safe.file
    sizes = [each.stat().st_size for each in (file.path, *safe.external_files)]
    opsets = sorted(read_outline(file.path).opsets.items())
    if file.stage is not None:
        yield _line("stage", file.stage)
    yield _line("file", str(file.path))
    yield _line("size", f"{sum(sizes):,} bytes" + (f" in {len(sizes)} files" if len(sizes) > 1 else ""))
    yield _line("opset", ", ".join(f"{domain or 'ai.onnx'} {number}" for domain, number in opsets))


def _command(path: Path, stages: Mapping[str, str]) -> str:
    command = f"serinus-server serve {shlex.quote(str(path))}"
    if not stages:
        return command
    return f"{command} --pipeline " + shlex.quote(",".join(f"{stage}={file}" for stage, file in stages.items()))


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.3f} ms"


def example(model: Model, feeds: Mapping[str, Tensor]) -> str:
    """A shell command that sends these inputs, or zeros in their place where they are many."""
    url = f"{_ADDRESS}/v2/models/{quote(model.name, safe='')}/infer"
    if sum(tensor.size for tensor in feeds.values()) <= _MAX_JSON_ELEMENTS:
        return f"curl -sS {url} -d {shlex.quote(_document(model, feeds, in_json=True))}"
    document = _document(model, feeds, in_json=False)
    zeros = sum(tensor.nbytes for tensor in feeds.values() if tensor.dtype.kind != "O")
    return (
        f"(printf %s {shlex.quote(document)}; head -c {zeros} /dev/zero) | curl -sS {url} "
        f"-H 'Inference-Header-Content-Length: {len(document.encode())}' --data-binary @-"
    )


def _document(model: Model, feeds: Mapping[str, Tensor], *, in_json: bool) -> str:
    inputs = []
    for name, tensor in feeds.items():
        datatype = model.signature.inputs[name].datatype.name
        entry: dict[str, Any] = {"name": name, "datatype": datatype, "shape": tensor.shape}
        if in_json or tensor.dtype.kind == "O":
            entry["data"] = tensor.reshape(-1).tolist()
        else:
            entry["parameters"] = {"binary_data_size": tensor.nbytes}
        inputs.append(entry)
    return orjson.dumps({"inputs": inputs}).decode()


def _tensors(signature: Signature) -> Iterator[str]:
    for title, specs in (("input", signature.inputs), ("output", signature.outputs)):
        for spec in specs.values():
            yield _line(title, _shown(spec))
    for name, type_ in signature.unsupported_outputs.items():
        yield _line("left out", f"{name}: {type_}, which the protocol cannot carry")


def _shown(spec: TensorSpec) -> str:
    return f"{spec.name}: {spec.datatype.name} {shown_shape(spec)}" + (", may be left out" if spec.optional else "")


def _line(title: str, text: str) -> str:
    return f"{title:{_COLUMN}}{text}"
