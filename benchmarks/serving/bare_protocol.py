"""The reference: an asyncio protocol that parses with httptools, runs the model and answers; nothing else.

No checks, no routes, no metrics, no log, no limits, no timeouts: what is left is what any server in
Python has to do. `python bare_protocol.py MODEL PORT`
"""

import asyncio
import sys
from typing import cast

import httptools
import numpy as np
import onnxruntime
import orjson
import uvloop

HEADER_LENGTH = b"inference-header-content-length"


class Bare(asyncio.Protocol):
    """One connection."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session
        self._parser = httptools.HttpRequestParser(self)
        self._body = b""
        self._header_length = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Some of a request, or several."""
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Only one matters."""
        if name.lower() == HEADER_LENGTH:
            self._header_length = int(value)

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._body = self._body + body if self._body else body

    def on_message_complete(self) -> None:
        """Run and answer."""
        body, self._body = self._body, b""
        if self._header_length:
            reply, extra = self._binary(body)
        else:
            reply, extra = self._json(body), b""
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%b\r\n"
        self._transport.write(head % (len(reply), extra) + reply)

    def _json(self, body: bytes) -> bytes:
        (entry,) = orjson.loads(body)["inputs"]
        x = np.array(entry["data"], np.float32).reshape(entry["shape"])
        (y,) = self._session.run(["y"], {"x": x})
        output = {"name": "y", "datatype": "FP32", "shape": y.shape, "data": y.reshape(-1)}
        reply = {"model_name": "m", "model_version": "1", "outputs": [output]}
        return orjson.dumps(reply, option=orjson.OPT_SERIALIZE_NUMPY)

    def _binary(self, body: bytes) -> tuple[bytes, bytes]:
        (entry,) = orjson.loads(body[: self._header_length])["inputs"]
        x = np.frombuffer(body, np.float32, offset=self._header_length).reshape(entry["shape"])
        (y,) = self._session.run(["y"], {"x": x})
        blob = y.tobytes()
        parameters = {"binary_data_size": len(blob)}
        output = {"name": "y", "datatype": "FP32", "shape": y.shape, "parameters": parameters}
        header = orjson.dumps({"model_name": "m", "model_version": "1", "outputs": [output]})
        return header + blob, b"Inference-Header-Content-Length: %d\r\n" % len(header)


async def serve(model: str, port: int) -> None:
    """Until killed."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    server = await asyncio.get_running_loop().create_server(lambda: Bare(session), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], int(sys.argv[2])))
