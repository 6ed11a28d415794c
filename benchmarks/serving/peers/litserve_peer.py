"""LitServe, whose worker is a process of its own; one of each."""

from typing import Any

import litserve
import numpy as np
from session import HOST, arguments, open_session

GIVEN = arguments()


class OnnxRuntime(litserve.LitAPI):  # type: ignore[misc]
    """Takes and gives the Open Inference Protocol's JSON."""

    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe's signature
        """Open the model."""
        self._session = open_session(GIVEN.model)

    def decode_request(self, request: dict[str, Any]) -> Any:  # noqa: ANN401 - LitServe's signature
        """The input."""
        (entry,) = request["inputs"]
        return np.array(entry["data"], np.float32).reshape(entry["shape"])

    def predict(self, x: Any) -> Any:  # noqa: ANN401 - LitServe's signature
        """The output."""
        return self._session.run(["y"], {"x": x})[0]

    def encode_response(self, y: Any) -> dict[str, Any]:  # noqa: ANN401 - LitServe's signature
        """The reply."""
        output = {"name": "y", "datatype": "FP32", "shape": y.shape, "data": y.ravel().tolist()}
        return {"model_name": "m", "model_version": "1", "outputs": [output]}


if __name__ == "__main__":
    api = OnnxRuntime(api_path="/v2/models/m/infer")
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, timeout=120)
    server.run(host=HOST, port=GIVEN.http_port, num_api_servers=1, generate_client_file=False, log_level="error")
