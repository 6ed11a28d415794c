"""Tensors to a gRPC inference reply."""

from collections.abc import Sequence

from serinus_server.encode import NotRepresentableError
from serinus_server.grpc_api.decode import CONTENTS_FIELDS
from serinus_server.grpc_api.open_inference_grpc_pb2 import ModelInferResponse
from serinus_server.infer_request import InferRequest
from serinus_server.model import Model, Tensor
from serinus_server.raw_tensor import to_raw


def encode(model: Model, request: InferRequest, tensors: Sequence[Tensor]) -> ModelInferResponse:
    """The reply to a request whose outputs are `tensors`, in the order of `request.outputs`.

    Raises NotRepresentableError for a text that is not Unicode.
    """
    reply = ModelInferResponse(model_name=model.name, model_version=model.version, id=request.id or "")
    for key, parameter in request.parameters.items():
        reply.parameters[key].CopyFrom(parameter)
    specs = model.signature.outputs
    for name, tensor in zip(request.outputs, tensors, strict=True):
        datatype = specs[name].datatype
        output = reply.outputs.add(name=name, datatype=datatype.name, shape=tensor.shape)
        try:
            if name in request.binary_outputs:
                reply.raw_output_contents.append(to_raw(tensor))
            elif datatype.kind == "O":
                output.contents.bytes_contents.extend([text.encode() for text in tensor.flat])
            else:
                getattr(output.contents, CONTENTS_FIELDS[datatype.name]).extend(tensor.reshape(-1).tolist())
        except UnicodeEncodeError as error:
            raise NotRepresentableError(f"output {name!r} holds a text that is not Unicode: {error}") from error
    return reply
