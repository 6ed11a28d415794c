"""MLServer with a custom runtime, in one process."""

import asyncio

from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.settings import ModelParameters
from mlserver.types import InferenceRequest, InferenceResponse
from session import HOST, NAME, arguments, open_session


class OnnxRuntime(MLModel):  # type: ignore[misc]
    """Decodes with MLServer's own codec, runs, encodes with it."""

    async def load(self) -> bool:
        """Open the model."""
        self._session = open_session(self.settings.parameters.uri)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer one request."""
        x = NumpyCodec.decode_input(payload.inputs[0])
        (y,) = self._session.run(["y"], {"x": x})
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("y", y)])


async def serve() -> None:
    """Until killed."""
    given = arguments()
    settings = Settings(
        host=HOST,
        http_port=given.http_port,
        grpc_port=given.grpc_port,
        metrics_endpoint=None,
        parallel_workers=0,
        debug=False,
    )
    parameters = ModelParameters(version="1", uri=given.model)
    await MLServer(settings).start([ModelSettings(name=NAME, implementation=OnnxRuntime, parameters=parameters)])


if __name__ == "__main__":
    asyncio.run(serve())
