"""`serinus-server inspect`: what a model file takes and gives, and a request that it answers."""

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import orjson

from serinus_server.model import Model, Tensor, TensorSpec, find_model_file, load
from serinus_server.onnx_file import read_outline
from serinus_server.probe import examine
from serinus_server.warm_up import warm_up
from serinus_server.wording import shown_shape

_MAX_JSON_ELEMENTS: Final = 64
_COLUMN: Final = 10
_ADDRESS: Final = "localhost:8080"


def inspect(path: Path, name: str, version: str) -> str:
    """The report on a model file, or on the one in a folder, as lines of text.

    Raises FatalError if it cannot be served.
    """
    file = find_model_file(path)
    examined = examine(file, warm_up=True)
    outline = read_outline(file)
    model = load(
        file,
        name,
        version,
        intra_op_threads=1,
        inputs_without_rank=examined.inputs_without_rank,
        external_files=examined.external_files,
    )
    warmed = warm_up(model.session, model.signature)
    sizes = [each.stat().st_size for each in (file, *examined.external_files)]
    opsets = ", ".join(f"{domain or 'ai.onnx'} {number}" for domain, number in sorted(outline.opsets.items()))
    lines = [
        _line("file", str(file)),
        _line("size", f"{sum(sizes):,} bytes" + (f" in {len(sizes)} files" if len(sizes) > 1 else "")),
        _line("digest", model.digest),
        _line("opset", opsets),
        *_tensors(model),
        _line("run", f"{warmed.run_seconds * 1e3:.3f} ms on a made-up input, with one thread"),
        "",
        f"serinus-server serve {shlex.quote(str(path))}",
        example(model, warmed.feeds),
    ]
    return "\n".join(lines) + "\n"


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


def _tensors(model: Model) -> Iterator[str]:
    signature = model.signature
    for title, specs in (("input", signature.inputs), ("output", signature.outputs)):
        for spec in specs.values():
            yield _line(title, _shown(spec))
    for name, type_ in signature.unsupported_outputs.items():
        yield _line("left out", f"{name}: {type_}, which the protocol cannot carry")


def _shown(spec: TensorSpec) -> str:
    return f"{spec.name}: {spec.datatype.name} {shown_shape(spec)}" + (", may be left out" if spec.optional else "")


def _line(title: str, text: str) -> str:
    return f"{title:{_COLUMN}}{text}"
