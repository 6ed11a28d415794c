"""KServe's Python SDK with a custom predictor."""

import logging
import sys

from session import NAME, arguments, open_session

GIVEN = arguments()
del sys.argv[1:]  # KServe reads the command line when it is imported

from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer  # noqa: E402


class OnnxRuntime(Model):  # type: ignore[misc]
    """Decodes and encodes as KServe's own runtimes do."""

    def load(self) -> bool:
        """Open the model."""
        self._session = open_session(GIVEN.model)
        self.ready = True
        return True

    def predict(self, payload: InferRequest, headers: object = None, response_headers: object = None) -> InferResponse:  # noqa: ARG002 - KServe's signature
        """Answer one request."""
        x = payload.inputs[0].as_numpy()
        (y,) = self._session.run(["y"], {"x": x})
        output = InferOutput("y", list(y.shape), "FP32")
        output.set_data_from_numpy(y, binary_data=payload.use_binary_outputs)
        return InferResponse(payload.id or "none", self.name, [output], use_binary_outputs=payload.use_binary_outputs)


if __name__ == "__main__":
    for logger in ("uvicorn.access", "kserve.trace"):
        logging.getLogger(logger).disabled = True
    model = OnnxRuntime(NAME)
    model.load()
    ModelServer(http_port=GIVEN.http_port, grpc_port=GIVEN.grpc_port, enable_latency_logging=False).start([model])
