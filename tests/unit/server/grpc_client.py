"""Calls of the Open Inference Protocol over gRPC, with the messages as the server has them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from serinus_server.grpc_api import open_inference_grpc_pb2 as messages
from tests.unit.server.serving import Serving


@contextmanager
def channel(server: Serving) -> Iterator[grpc.Channel]:
    """A connection to the gRPC port."""
    with grpc.insecure_channel(f"127.0.0.1:{server.wait_for('listening')['grpc_port']}") as opened:
        yield opened


def call(opened: grpc.Channel, name: str, request: Any, **options: Any) -> Any:  # noqa: ANN401 - any message
    """One call by name; a request may be given as bytes."""
    invoke: Any = opened.unary_unary(
        f"/inference.GRPCInferenceService/{name}",
        request_serializer=lambda message: message if isinstance(message, bytes) else message.SerializeToString(),
        response_deserializer=getattr(messages, f"{name}Response").FromString,
    )
    return invoke(request, timeout=20, **options) if "timeout" not in options else invoke(request, **options)


def infer_request(
    *inputs: tuple[str, str, list[int]],
    raw: list[bytes] | None = None,
    model: str = "m",
    model_version: str = "",
    id: str = "",  # noqa: A002 - the protocol's name
) -> messages.ModelInferRequest:
    """A request of inputs as (name, datatype, shape), and their raw contents."""
    request = messages.ModelInferRequest(model_name=model, model_version=model_version, id=id)
    request.raw_input_contents.extend(raw or [])
    for name, datatype, shape in inputs:
        request.inputs.add(name=name, datatype=datatype, shape=shape)
    return request
