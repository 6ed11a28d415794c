"""The onnx package's own backend tests, served and compared over HTTP with binary tensor data.

Its node tests are made by the package as they are needed, the models converted from PyTorch come as files.
Every one is served unless it cannot be:

- onnxruntime itself does not load the model (operators and types that it has no kernels for) or fails on it;
- an input, or every output, is of a type that the Open Inference Protocol has no name for: sequences, maps,
  optionals, bfloat16, the float8 types, and those of two and four bits;
- the result is random.

Where onnxruntime's own answer is not the package's (it computes in another order, or to another version
of the operator), the served one must be onnxruntime's.
"""

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import tritonclient.http
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases
from onnx.backend.test.case.test_case import TestCase
from onnx.backend.test.loader import load_model_tests

from serinus_server.failure import FatalError
from serinus_server.model import Model, Tensor
from tests.unit.server.in_process import InProcess, load_model

PROTOCOL_TYPES = {
    *("tensor(bool)", "tensor(string)", "tensor(float16)", "tensor(float)", "tensor(double)"),
    *(f"tensor({sign}int{bits})" for sign in ("", "u") for bits in (8, 16, 32, 64)),
}
RANDOM = {"test_training_dropout", "test_training_dropout_mask", "test_training_dropout_default"}
RANDOM |= {"test_training_dropout_default_mask", "test_training_dropout_zero_ratio_mask"}
FILES = ("pytorch-converted", "pytorch-operator", "simple")
AS_EXPECTED, AS_ONNXRUNTIME, WRONG = "as the package expects", "as onnxruntime answers by itself", "wrong"
RUNTIME_FAILS = "onnxruntime fails on it"
Values = Sequence[Tensor | None]
Cases = Iterator[tuple[TestCase, bytes, list[tuple[Values, Values]]]]


@pytest.fixture(scope="module")
def server() -> Iterator[InProcess]:
    """Serves one model after the other."""
    running = InProcess()
    yield running
    running.close()


def node_cases() -> Cases:
    """Case, model, and pairs of inputs and outputs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package computes infinities on purpose
        cases = collect_testcases(None)
    for case in cases:
        sets: list[tuple[Values, Values]] = [
            ([*map(array, inputs)], [*map(array, outputs)]) for inputs, outputs in case.data_sets
        ]
        yield case, case.model.SerializeToString(), sets


def file_cases() -> Cases:
    for kind in FILES:
        for case in load_model_tests(kind=kind):
            folder = Path(case.model_dir)
            sets = [(read(data, "input"), read(data, "output")) for data in folder.glob("test_data_set_*")]
            yield case, (folder / "model.onnx").read_bytes(), sets


def array(value: Any) -> Tensor | None:  # noqa: ANN401 - whatever a case holds
    """A value of a case; None for what is no tensor."""
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)  # type: ignore[no-any-return]
    return np.asarray(value) if isinstance(value, np.ndarray | np.generic) else None


def read(folder: Path, what: str) -> Values:
    """The tensors in input_0.pb, input_1.pb and so on."""
    tensors = []
    for number in range(len(list(folder.glob(f"{what}_*.pb")))):
        tensor = onnx.TensorProto()
        try:
            tensor.ParseFromString((folder / f"{what}_{number}.pb").read_bytes())
            tensors.append(numpy_helper.to_array(tensor))
        except Exception:  # a sequence; its model is not served
            tensors.append(None)
    return tensors


def why_not_served(content: bytes) -> str | None:
    """Judged by onnxruntime alone."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(content, options)
    except Exception:
        return "onnxruntime does not load it"
    if any(each.type not in PROTOCOL_TYPES for each in session.get_inputs()):
        return "the protocol has no such input type"
    if all(each.type not in PROTOCOL_TYPES for each in session.get_outputs()):
        return "the protocol has no such output type"
    return None


def served(port: int, model: Model, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The outputs as a client sees them."""
    inputs = []
    for name, tensor in feeds.items():
        given = tritonclient.http.InferInput(name, list(tensor.shape), model.signature.inputs[name].datatype.name)
        given.set_data_from_numpy(tensor)
        inputs.append(given)
    with tritonclient.http.InferenceServerClient(f"127.0.0.1:{port}") as client:
        result = client.infer("m", inputs)
    return {name: result.as_numpy(name) for name in model.signature.outputs}


def matches(actual: Tensor, expected: Tensor | None, case: TestCase) -> bool:
    if expected is None or actual.shape != expected.shape:
        return False
    if actual.dtype.kind == "O" or expected.dtype.kind in "OU":
        return texts(actual) == texts(expected)
    return actual.dtype == expected.dtype and bool(
        np.allclose(actual, expected, rtol=case.rtol, atol=case.atol, equal_nan=True)
    )


def texts(tensor: Tensor) -> list[str]:
    return [text.decode() if isinstance(text, bytes) else str(text) for text in tensor.flat]


def compare(server: InProcess, case: TestCase, model: Model, sets: list[tuple[Values, Values]]) -> str:
    """Serve every data set of a case; how it compares."""
    outcome = AS_EXPECTED
    session = model.session
    assert isinstance(session, onnxruntime.InferenceSession)
    for inputs, outputs in sets:
        names = [each.name for each in session.get_inputs()]
        feeds = {name: tensor for name, tensor in zip(names, inputs, strict=False) if tensor is not None}
        wanted = dict(zip([each.name for each in session.get_outputs()], outputs, strict=False))
        try:
            bare = dict(zip(model.signature.outputs, model.run(feeds, list(model.signature.outputs)), strict=True))
        except Exception:
            return RUNTIME_FAILS
        with server.serving(model) as port:
            answer = served(port, model, feeds)
        for name, actual in answer.items():
            if matches(actual, wanted[name], case):
                continue
            if not matches(actual, bare[name], case):
                return WRONG
            outcome = AS_ONNXRUNTIME
    return outcome


@pytest.mark.parametrize(
    ("cases", "served_at_least", "differently_at_most"), [(node_cases, 1580, 20), (file_cases, 100, 0)]
)
def test_onnx_backend_node_tests_match(
    server: InProcess, tmp_path: Path, cases: Callable[[], Cases], served_at_least: int, differently_at_most: int
) -> None:
    outcomes: dict[str, list[str]] = defaultdict(list)
    path = tmp_path / "model.onnx"
    for case, content, sets in cases():
        path.write_bytes(content)
        outcome = "it is random" if case.name in RANDOM else why_not_served(content)
        try:
            model = load_model(path)
        except FatalError:
            outcome = outcome or WRONG
        else:
            outcome = outcome or compare(server, case, model, sets)
        outcomes[outcome].append(case.name)
    print({outcome: len(names) for outcome, names in outcomes.items()})
    assert outcomes[WRONG] == []
    assert len(outcomes[AS_EXPECTED]) + len(outcomes[AS_ONNXRUNTIME]) >= served_at_least
    assert len(outcomes[AS_ONNXRUNTIME]) <= differently_at_most, outcomes[AS_ONNXRUNTIME]
    assert len(outcomes[RUNTIME_FAILS]) <= 3, outcomes[RUNTIME_FAILS]
