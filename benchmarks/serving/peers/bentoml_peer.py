"""BentoML with one worker."""

import os
import sys
from pathlib import Path
from typing import Any

import bentoml
import numpy as np
from session import HOST, NAME, arguments, open_session


@bentoml.service(workers=1, traffic={"timeout": 120}, logging={"access": {"enabled": False}})
class OnnxRuntime:
    """Takes and gives the Open Inference Protocol's JSON."""

    def __init__(self) -> None:
        self._session = open_session(os.environ["PEER_MODEL"])

    @bentoml.api(route=f"/v2/models/{NAME}/infer")  # type: ignore[untyped-decorator]
    async def infer(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """Answer one request."""
        (entry,) = inputs
        x = np.array(entry["data"], np.float32).reshape(entry["shape"])
        (y,) = self._session.run(["y"], {"x": x})
        output = {"name": "y", "datatype": "FP32", "shape": list(y.shape), "data": y.ravel().tolist()}
        return {"model_name": NAME, "model_version": "1", "outputs": [output]}


if __name__ == "__main__":
    given = arguments()
    os.environ["PEER_MODEL"] = given.model
    here = Path(__file__).resolve().parent
    command = ["serve", "bentoml_peer:OnnxRuntime", "--working-dir", str(here)]
    address = ["--host", HOST, "--port", str(given.http_port)]
    os.execv(sys.executable, [sys.executable, "-m", "bentoml", *command, *address])  # noqa: S606 - no shell is wanted
