"""What the server and its model say of themselves, in the protocol's terms."""

from typing import Any, Final

from serinus_server import __version__
from serinus_server.model import Model, TensorSpec

_SERVER_NAME: Final = "serinus-server"
_PLATFORM: Final = "onnxruntime_onnx"
_EXTENSIONS: Final = ("binary_tensor_data",)


def server_metadata() -> dict[str, Any]:
    """The protocol's description of a server."""
    return {"name": _SERVER_NAME, "version": __version__, "extensions": list(_EXTENSIONS)}


def model_metadata(model: Model) -> dict[str, Any]:
    """The protocol's description of a model."""
    return {
        "name": model.name,
        "versions": [model.version],
        "platform": _PLATFORM,
        "inputs": [_tensor_metadata(spec) for spec in model.signature.inputs.values() if not spec.optional],
        "outputs": [_tensor_metadata(spec) for spec in model.signature.outputs.values()],
    }


def _tensor_metadata(spec: TensorSpec) -> dict[str, Any]:
    """-1 stands for an open dimension. An open rank has no form of its own and is written as [-1]."""
    shape = [-1] if spec.shape is None else [size if isinstance(size, int) else -1 for size in spec.shape]
    return {"name": spec.name, "datatype": spec.datatype.name, "shape": shape}
