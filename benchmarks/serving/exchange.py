"""The request in each encoding, and the check of a reply."""

import json
from typing import Any, NamedTuple

import grpc
import numpy as np

from serinus_server.grpc_api import open_inference_grpc_pb2 as messages

PATH = "/v2/models/m/infer"
GRPC_METHOD = "inference.GRPCInferenceService/ModelInfer"
_HEADER_LENGTH = "Inference-Header-Content-Length"

Tensor = np.ndarray[Any, Any]


class Request(NamedTuple):
    """What is sent over and over; for gRPC a serialised message."""

    body: bytes
    headers: dict[str, str]


def request(x: Tensor, encoding: str) -> Request:
    """The request for an input x."""
    if encoding == "grpc":
        return Request(_message(x).SerializeToString(), {})
    entry: dict[str, Any] = {"name": "x", "datatype": "FP32", "shape": list(x.shape)}
    if encoding == "json":
        body = json.dumps({"inputs": [{**entry, "data": x.ravel().tolist()}]}).encode()
        return Request(body, {"Content-Type": "application/json"})
    entry["parameters"] = {"binary_data_size": x.nbytes}
    header = json.dumps({"inputs": [entry], "parameters": {"binary_data_output": True}}).encode()
    headers = {"Content-Type": "application/octet-stream", _HEADER_LENGTH: str(len(header))}
    return Request(header + x.tobytes(), headers)


def values(reply: bytes, encoding: str, count: int) -> Tensor:
    """The elements of the only output of a reply over HTTP."""
    if encoding == "binary":
        return np.frombuffer(reply[-4 * count :], np.float32)
    return np.array(json.loads(reply)["outputs"][0]["data"], np.float32).ravel()


def ask_grpc(port: int, x: Tensor) -> Tensor:
    """The elements of the only output of a reply over gRPC."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary(
            f"/{GRPC_METHOD}",
            request_serializer=messages.ModelInferRequest.SerializeToString,
            response_deserializer=messages.ModelInferResponse.FromString,
        )
        reply = call(_message(x), timeout=20, wait_for_ready=True)
    if reply.raw_output_contents:
        return np.frombuffer(reply.raw_output_contents[0], np.float32)
    return np.array(reply.outputs[0].contents.fp32_contents, np.float32)


def _message(x: Tensor) -> messages.ModelInferRequest:
    entry = messages.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=x.shape)
    return messages.ModelInferRequest(model_name="m", id="1", inputs=[entry], raw_input_contents=[x.tobytes()])
