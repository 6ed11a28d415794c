"""Ray Serve, whose HTTP proxy and replica are processes of their own; one of each."""

import os
import threading

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import numpy as np
import orjson
import ray
from ray import serve
from session import HOST, arguments, open_session
from starlette.requests import Request
from starlette.responses import Response

GIVEN = arguments()
_OBJECT_STORE_BYTES = 128 * 2**20
_AT_ONCE = 64


class OnnxRuntime:
    """Takes and gives the Open Inference Protocol's JSON."""

    def __init__(self, model: str) -> None:
        self._session = open_session(model)

    async def __call__(self, request: Request) -> Response:
        """The reply to one request."""
        (entry,) = orjson.loads(await request.body())["inputs"]
        x = np.array(entry["data"], np.float32).reshape(entry["shape"])
        (y,) = self._session.run(["y"], {"x": x})
        output = {"name": "y", "datatype": "FP32", "shape": y.shape, "data": y.ravel()}
        reply = {"model_name": "m", "model_version": "1", "outputs": [output]}
        return Response(orjson.dumps(reply, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")


if __name__ == "__main__":
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=_OBJECT_STORE_BYTES,
        _node_ip_address=HOST,
    )
    serve.start(
        http_options={"host": HOST, "port": GIVEN.http_port},
        logging_config={"enable_access_log": False, "log_level": "ERROR"},
    )
    deployment = serve.deployment(num_replicas=1, max_ongoing_requests=_AT_ONCE)(OnnxRuntime)
    serve.run(deployment.bind(GIVEN.model), route_prefix="/v2/models/m/infer")
    threading.Event().wait()
