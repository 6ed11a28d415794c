"""What KServe's own clients say of a server, as JSON: `python kserve_calls.py HTTP GRPC GRPC`, in their environment.

The first two ports are of a server whose model `m` has an input in_<TYPE> and an output out_<TYPE> for every type;
the third is of one whose model gives y[1, 3] for x[1, 4].
"""

import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferOutput, InferRequest, RESTConfig

VALUES: Mapping[str, Any] = {
    "BOOL": np.array([True, False]),
    "UINT8": np.array([0, 255], np.uint8),
    "UINT16": np.array([0, 65535], np.uint16),
    "UINT32": np.array([2**32 - 1], np.uint32),
    "UINT64": np.array([2**64 - 1, 0], np.uint64),
    "INT8": np.array([-128, 127], np.int8),
    "INT16": np.array([-32768], np.int16),
    "INT32": np.array([-(2**31)], np.int32),
    "INT64": np.array([-(2**63), 2**63 - 1], np.int64),
    "FP16": np.array([0.5, -2], np.float16),
    "FP32": np.array([0.1, 1e-45], np.float32),
    "FP64": np.array([0.1], np.float64),
    "BYTES": np.array([b"", "ünï 🐦".encode()], object),
}


async def over_rest(port: int) -> dict[str, Any]:
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    url = f"http://127.0.0.1:{port}"
    said = {
        "live": await client.is_server_live(url),
        "ready": await client.is_server_ready(url),
        "model": await client.is_model_ready(url, "m"),
        "no model": await client.is_model_ready(url, "other"),
        # KServe has no form of FP16 in JSON.
        "json": compared(await client.infer(url, request(binary=lambda type_: type_ == "FP16"), model_name="m")),
        "binary": compared(await client.infer(url, request(binary=lambda _: True), model_name="m")),
        "wrong": await complaint(client.infer(url, wrong(), model_name="m")),
    }
    await client.close()
    return said


async def over_grpc(port: int) -> dict[str, Any]:
    client = InferenceGRPCClient(f"127.0.0.1:{port}", retries=0)
    said = {
        "live": await client.is_server_live(),
        "ready": await client.is_server_ready(),
        "model": await client.is_model_ready("m"),
        "raw": compared(await client.infer(request(binary=lambda _: True))),
        "wrong": await complaint(client.infer(wrong())),
        "no model": await complaint(client.is_model_ready("other")),
    }
    await client.close()
    return said


async def typed_contents(port: int) -> Any:  # noqa: ANN401 - JSON
    """KServe's client has no typed contents for FP16, so it cannot send one of every type."""
    client = InferenceGRPCClient(f"127.0.0.1:{port}", retries=0)
    given = InferInput("x", [1, 4], "FP32")
    given.set_data_from_numpy(np.array([[1, 2, 3, 4]], np.float32), binary_data=False)
    response = await client.infer(InferRequest("m", [given]))
    await client.close()
    return response.outputs[0].as_numpy().tolist()


def request(*, binary: Callable[[str], bool]) -> InferRequest:
    """One of every type."""
    inputs = []
    for type_, values in VALUES.items():
        given = InferInput(f"in_{type_}", list(values.shape), type_)
        given.set_data_from_numpy(values, binary_data=binary(type_))
        inputs.append(given)
    return InferRequest("m", inputs, request_id="7")


def wrong() -> InferRequest:
    given = InferInput("in_FP32", [1, 1], "FP32")
    given.set_data_from_numpy(np.zeros((1, 1), np.float32), binary_data=False)
    return InferRequest("m", [given])


def compared(response: Any) -> dict[str, Any]:  # noqa: ANN401 - the library has no types
    """Which outputs came back as they were sent, and which did not."""
    outputs: dict[str, InferOutput] = {output.name: output for output in response.outputs}
    same = [type_ for type_, values in VALUES.items() if alike(outputs[f"out_{type_}"].as_numpy(), values)]
    return {"id": response.id, "model": response.model_name, "same": same}


def alike(received: Any, sent: Any) -> bool:  # noqa: ANN401 - arrays of any type
    if sent.dtype.kind == "O":
        return bool([each if isinstance(each, bytes) else each.encode() for each in received] == sent.tolist())
    return bool(received.dtype == sent.dtype and received.tobytes() == sent.tobytes())


async def complaint(call: Any) -> str:  # noqa: ANN401 - any coroutine of the library
    try:
        return f"no error but {await call}"
    except Exception as error:
        return str(error)


async def main() -> None:
    http_port, grpc_port, small_port = map(int, sys.argv[1:])
    said = {
        "rest": await over_rest(http_port),
        "grpc": await over_grpc(grpc_port),
        "contents": await typed_contents(small_port),
    }
    print(json.dumps(said))


if __name__ == "__main__":
    asyncio.run(main())
