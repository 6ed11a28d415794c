"""The calls of the Open Inference Protocol beside ModelInfer: health and metadata."""

from collections.abc import Mapping
from http import HTTPStatus

from serinus_server.access import Access
from serinus_server.grpc_api import open_inference_grpc_pb2 as messages
from serinus_server.grpc_api.served import Served
from serinus_server.grpc_api.unary_method import UnaryMethod
from serinus_server.inference import NOT_READY
from serinus_server.metadata import model_metadata, server_metadata
from serinus_server.readiness import Readiness
from serinus_server.refusal import Refusal


class ModelMethods:
    """What the server and its model say of themselves."""

    def __init__(self, served: Served, readiness: Readiness, access: Access | None) -> None:
        self._served = served
        self._readiness = readiness
        self._access = access

    def by_name(self) -> Mapping[str, UnaryMethod]:
        """The calls."""
        version = self._served.version_field
        return {
            "ServerLive": UnaryMethod(messages.ServerLiveRequest, self._server_live),
            "ServerReady": UnaryMethod(messages.ServerReadyRequest, self._server_ready),
            "ModelReady": UnaryMethod(messages.ModelReadyRequest, self._model_ready, None, version),
            "ServerMetadata": UnaryMethod(messages.ServerMetadataRequest, self._server_metadata),
            "ModelMetadata": UnaryMethod(messages.ModelMetadataRequest, self._model_metadata, self._access, version),
        }

    def _server_live(self, _: messages.ServerLiveRequest) -> messages.ServerLiveResponse:
        return messages.ServerLiveResponse(live=self._readiness.reason_not_alive is None)

    def _server_ready(self, _: messages.ServerReadyRequest) -> messages.ServerReadyResponse:
        return messages.ServerReadyResponse(ready=self._readiness.reason_not_ready is None)

    def _model_ready(self, request: messages.ModelReadyRequest) -> messages.ModelReadyResponse | Refusal:
        refusal = self._served.refusal(request.name, request.version)
        if refusal is not None:
            return refusal
        return messages.ModelReadyResponse(ready=self._readiness.reason_not_ready is None)

    def _server_metadata(self, _: messages.ServerMetadataRequest) -> messages.ServerMetadataResponse:
        return messages.ServerMetadataResponse(**server_metadata())

    def _model_metadata(self, request: messages.ModelMetadataRequest) -> messages.ModelMetadataResponse | Refusal:
        refusal = self._served.refusal(request.name, request.version)
        if refusal is not None:
            return refusal
        model = self._readiness.model
        if model is None:
            return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "the model is being loaded", NOT_READY)
        return messages.ModelMetadataResponse(**model_metadata(model))
