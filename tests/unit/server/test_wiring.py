"""Which tensor of a pipeline goes where, and how it is told when two stages do not fit."""

from collections.abc import Mapping, Sequence

import pytest

from serinus_server.datatypes import BY_ONNX_TYPE
from serinus_server.failure import FatalError, Reason
from serinus_server.model import Signature, TensorSpec
from serinus_server.wiring import wire

TYPES = {"FP32": "tensor(float)", "INT64": "tensor(int64)", "BYTES": "tensor(string)"}
Shape = Sequence[int | str | None] | None


def tensor(name: str, type_: str = "FP32", shape: Shape = ("n", 4), *, optional: bool = False) -> TensorSpec:
    return TensorSpec(name, BY_ONNX_TYPE[TYPES[type_]], None if shape is None else tuple(shape), optional)


def stage(
    inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], unsupported: Mapping[str, str] | None = None
) -> Signature:
    return Signature({spec.name: spec for spec in inputs}, {spec.name: spec for spec in outputs}, unsupported or {})


RAW, FEATURES, SCORES, LABEL = tensor("raw", "BYTES", ("n",)), tensor("features"), tensor("scores"), tensor("label")


def test_each_stage_feeds_the_next() -> None:
    wiring = wire({"pre": stage([RAW], [FEATURES]), "m": stage([FEATURES], [SCORES]), "post": stage([SCORES], [LABEL])})
    assert list(wiring.signature.inputs) == ["raw"]
    assert list(wiring.signature.outputs) == ["label"]
    assert wiring.needed == [["features"], ["scores"], ["label"]]


def test_a_stage_may_feed_one_that_comes_later() -> None:
    sizes = tensor("sizes", "INT64", ("n",))
    unused = tensor("unused")
    wiring = wire(
        {
            "pre": stage([RAW], [sizes, unused, FEATURES]),
            "m": stage([FEATURES], [SCORES]),
            "post": stage([SCORES, sizes], [LABEL, tensor("box")], {"map": "map(int64,tensor(float))"}),
        }
    )
    assert wiring.needed == [["sizes", "features"], ["scores"], ["label", "box"]]
    assert wiring.signature.unsupported_outputs == {"map": "map(int64,tensor(float))"}


def test_what_no_stage_gives_comes_from_the_request() -> None:
    threshold = tensor("threshold", shape=(1,), optional=True)
    wiring = wire({"pre": stage([RAW], [FEATURES]), "m": stage([FEATURES, tensor("mask"), threshold], [SCORES])})
    assert list(wiring.signature.inputs) == ["raw", "mask", "threshold"]
    assert wiring.signature.inputs["threshold"].optional


def test_the_last_stage_may_give_the_name_that_it_takes() -> None:
    wiring = wire({"pre": stage([RAW], [FEATURES]), "post": stage([FEATURES], [FEATURES])})
    assert list(wiring.signature.outputs) == ["features"]


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        (("n", 4), ("n", 4), ("n", 4)),
        ((None, 4), ("n", None), (None, 4)),
        (("n", "k"), (2, "k"), (2, "k")),
        (None, (2, "k"), (2, None)),
        (("n", 4), None, ("n", 4)),
        (None, None, None),
    ],
)
def test_an_input_of_two_stages_has_a_shape_that_fits_both(first: Shape, second: Shape, together: Shape) -> None:
    stages = {
        "pre": stage([tensor("x", shape=first)], [FEATURES]),
        "m": stage([FEATURES, tensor("x", shape=second, optional=True)], [SCORES]),
    }
    spec = wire(stages).signature.inputs["x"]
    assert (spec.shape, spec.optional) == (together, False)


def test_equal_names_of_dimensions_mean_equal_sizes_only_within_a_file() -> None:
    stages = {
        "pre": stage([tensor("x", shape=("n", "a")), tensor("w", shape=("n",))], [FEATURES]),
        "m": stage([FEATURES, tensor("mask", shape=("n", "b"))], [SCORES]),
    }
    shapes = {name: spec.shape for name, spec in wire(stages).signature.inputs.items()}
    assert shapes == {"x": ("pre.n", "a"), "w": ("pre.n",), "mask": ("m.n", "b")}


@pytest.mark.parametrize(
    ("given", "taken", "complaint"),
    [
        (
            tensor("features", "INT64"),
            tensor("features", "FP32"),
            "stage 'm' takes 'features' as a FP32 tensor of shape [n, 4], but stage 'pre' gives a INT64 tensor of "
            "shape [n, 4]",
        ),
        (
            tensor("features", shape=("n",)),
            tensor("features", shape=("n", 4)),
            "stage 'm' takes 'features' as a FP32 tensor of shape [n, 4], but stage 'pre' gives a FP32 tensor of "
            "shape [n]",
        ),
        (
            tensor("features", shape=("n", 5)),
            tensor("features", shape=("n", 4)),
            "stage 'm' takes 'features' as a FP32 tensor of shape [n, 4], but stage 'pre' gives a FP32 tensor of "
            "shape [n, 5]",
        ),
        (
            tensor("feature"),
            tensor("features"),
            "stage 'pre' gives 'feature', which no later stage takes; 'm' takes 'features'",
        ),
    ],
)
def test_two_stages_that_do_not_fit(given: TensorSpec, taken: TensorSpec, complaint: str) -> None:
    assert refused({"pre": stage([RAW], [given]), "m": stage([taken], [SCORES])}) == complaint


@pytest.mark.parametrize(("given", "taken"), [(("n", 4), (None, 4)), ((2, 4), ("n", "k")), (None, (1,)), ((1,), None)])
def test_two_shapes_that_fit(given: Shape, taken: Shape) -> None:
    features = tensor("features", shape=given), tensor("features", shape=taken)
    wire({"pre": stage([RAW], [features[0]]), "m": stage([features[1]], [SCORES])})


def test_a_name_has_one_origin() -> None:
    by_two = {
        "a": stage([RAW], [FEATURES]),
        "b": stage([FEATURES], [FEATURES, SCORES]),
        "c": stage([FEATURES, SCORES], [LABEL]),
    }
    assert refused(by_two) == "stage 'c' takes 'features', which stage 'a' and stage 'b' give: rename all but one"
    by_the_request = {"a": stage([FEATURES], [FEATURES]), "b": stage([FEATURES], [SCORES])}
    complaint = "stage 'b' takes 'features', which the request and stage 'a' give: rename all but one"
    assert refused(by_the_request) == complaint


def test_an_input_of_two_stages_must_be_the_same() -> None:
    stages = {
        "pre": stage([tensor("x")], [FEATURES]),
        "m": stage([FEATURES, tensor("x", "INT64")], [SCORES]),
    }
    assert refused(stages) == (
        "stage 'm' takes 'x' as a INT64 tensor of shape [n, 4], but stage 'pre' takes it as a FP32 tensor of shape "
        "[n, 4] of the request"
    )


def test_an_output_that_no_tensor_can_hold_feeds_nothing() -> None:
    stages = {
        "pre": stage([RAW], [SCORES], {"features": "seq(tensor(float))"}),
        "m": stage([FEATURES, SCORES], [LABEL]),
    }
    complaint = (
        "stage 'm' takes 'features' as a FP32 tensor of shape [n, 4], but stage 'pre' gives a seq(tensor(float))"
    )
    assert refused(stages) == complaint


def refused(stages: Mapping[str, Signature]) -> str:
    with pytest.raises(FatalError) as caught:
        wire(stages)
    assert caught.value.reason is Reason.MODEL_LOAD_FAILED
    return str(caught.value).removeprefix("the pipeline does not fit together: ")
