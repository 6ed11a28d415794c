"""What reaches the pods besides the model: protocols, pipelines, quota and access."""

import base64
import json
import urllib.request
from pathlib import Path
from typing import Any

import grpc
import onnx
import pytest
from onnx import TensorProto, helper

from examples.digits import dataset, train
from serinus_server.api_keys import make_api_key, stored_form
from serinus_server.grpc_api import open_inference_grpc_pb2 as messages
from tests.cluster import Cluster, object_store
from tests.cluster.inference_service import InferenceServiceHandle, condition
from tests.cluster.traffic import Exchange
from tests.e2e.calls import predict
from tests.e2e.expectations import KUBELET_SECONDS, deploy, within
from tests.e2e.manifests import SERVICE, digits, restricted_pod


def pod_uids(service: InferenceServiceHandle) -> set[str]:
    return {pod["metadata"]["uid"] for pod in service.children("pods")}


def token(service: InferenceServiceHandle, account: str, audience: str) -> dict[str, str]:
    made = service.cluster.kubectl("create", "token", account, "-n", service.namespace, "--audience", audience)
    return {"Authorization": f"Bearer {made.strip()}"}


def test_access_and_quota_change_without_a_restart(service: InferenceServiceHandle, exchanges: list[Exchange]) -> None:
    """First everyone may ask; then only who has a key, and no more often than the quota says."""
    cluster, body = service.cluster, exchanges[0].body
    open_to_all = deploy(service, digits("1", replicas=1))
    assert condition(open_to_all, "AccessControlled")[:2] == ("False", "Open")
    before = pod_uids(service)
    key = make_api_key()
    keys = {"shop": base64.b64encode(stored_form(key).encode()).decode()}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"{SERVICE}-api-keys"}, "data": keys}
    cluster.kubectl("apply", "-n", service.namespace, "-f", "-", input=json.dumps(secret))
    with cluster.port_forward(service.namespace, SERVICE, 80) as url:
        assert predict(url, body).status == 200
        quota = {"perClient": {"requestsPerSecond": 1, "burst": 3}}
        service.apply(digits("1", replicas=1, access={"mode": "APIKey"}, quota=quota))
        within(KUBELET_SECONDS, lambda: predict(url, body).status == 401, "nobody without a key is let in")
        with_key = {"X-API-Key": key}
        within(KUBELET_SECONDS, lambda: predict(url, body, with_key).status == 200, "who has a key is let in")
        replies = [predict(url, body, with_key) for _ in range(10)]
        refused = [reply for reply in replies if reply.status == 429]
        assert refused
        assert all(int(reply.headers["Retry-After"]) >= 1 for reply in refused)
        assert predict(url, body, {"X-API-Key": make_api_key()}).status == 401
    assert condition(service.status(), "AccessControlled")[:2] == ("True", "APIKey")
    assert service.status().rollout.reason != "Promoted"
    assert pod_uids(service) == before


def test_kubernetes_tokens_let_in_who_is_allowed(service: InferenceServiceHandle, exchanges: list[Exchange]) -> None:
    body, audience = exchanges[0].body, f"{SERVICE}.{service.namespace}.svc"
    for account in ("web", "stranger"):
        service.cluster.kubectl("create", "serviceaccount", account, "-n", service.namespace)
    allowed = f"system:serviceaccount:{service.namespace}:web"
    access: dict[str, Any] = {"mode": "KubernetesToken", "allowedUsers": [allowed]}
    told = deploy(service, digits("1", replicas=1, access=access))
    assert condition(told, "AccessControlled")[:2] == ("True", "KubernetesToken")
    with service.cluster.port_forward(service.namespace, SERVICE, 80) as url:
        assert predict(url, body, token(service, "web", audience)).status == 200
        assert predict(url, body, token(service, "stranger", audience)).status == 403
        assert predict(url, body, token(service, "web", "somebody-else")).status == 401
        assert predict(url, body).status == 401


SINK = """
import http.server, sys
class Sink(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        sys.stdout.write(self.rfile.read(int(self.headers["Content-Length"])).decode())
        sys.stdout.flush()
        self.send_response(204)
        self.end_headers()
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("", 8080), Sink).serve_forever()
"""


def sink_pod() -> dict[str, Any]:
    """A collector of audit records that prints them."""
    spec = restricted_pod("sink", command=["python", "-c", SINK])
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "sink"}, "spec": spec}


def test_an_audit_trail_is_kept(service: InferenceServiceHandle, exchanges: list[Exchange]) -> None:
    kubectl, namespace = service.cluster.kubectl, ("-n", service.namespace)
    kubectl("apply", *namespace, "-f", "-", input=json.dumps(sink_pod()))
    kubectl("wait", *namespace, "pod/sink", "--for=condition=Ready", "--timeout=60s")
    address = kubectl("get", *namespace, "pod/sink", "-o", "jsonpath={.status.podIP}")
    audit = {"url": f"http://{address}:8080/", "redact": ["pixels"]}
    deploy(service, digits("1", replicas=1, audit=audit))
    with service.cluster.port_forward(service.namespace, SERVICE, 80) as url:
        assert predict(url, exchanges[0].body, {"X-Request-ID": "asked-once"}).status == 200
    within(30, lambda: "asked-once" in kubectl("logs", *namespace, "sink"), "the record arrives")
    [record] = [json.loads(line) for line in kubectl("logs", *namespace, "sink").splitlines()]
    [pixels], [label] = record["inputs"], record["outputs"]
    assert pixels["redacted"] is True
    assert "data" not in pixels
    assert label["data"] == [exchanges[0].label]
    assert (record["id"], record["version"]) == ("asked-once", "1")


@pytest.fixture(scope="module")
def pipeline(cluster: Cluster, models: dict[str, train.Model], tmp_path_factory: pytest.TempPathFactory) -> None:
    """A folder in the store with the digits model, and a stage before it that makes pixels of brightnesses."""
    brightness = helper.make_tensor_value_info("brightness", TensorProto.FLOAT, [None, dataset.PIXELS])
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [None, dataset.PIXELS])
    white = helper.make_tensor("white", TensorProto.FLOAT, [], [16.0])
    node = helper.make_node("Mul", ["brightness", "white"], ["pixels"])
    graph = helper.make_graph([node], "scale", [brightness], [pixels], [white])
    scale = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = Path(tmp_path_factory.mktemp("pipeline")) / "scale.onnx"
    onnx.save(scale, path)
    object_store.upload(cluster, {"digits/pipeline/scale.onnx": path, "digits/pipeline/digits.onnx": models["1"].path})


@pytest.mark.usefixtures("pipeline")
def test_a_pipeline_is_served_over_rest_and_grpc(service: InferenceServiceHandle, exchanges: list[Exchange]) -> None:
    stages = [{"name": "scale", "file": "scale.onnx"}, {"name": "digits", "file": "digits.onnx"}]
    model = {"uri": "s3://models/digits/pipeline/", "pipeline": stages}
    server: dict[str, Any] = {"protocols": ["REST", "gRPC"], "limits": {"maxBodySize": "64Ki", "requestTimeout": "5s"}}
    deploy(service, digits("1", replicas=1, model=model, server=server))
    [given] = json.loads(exchanges[0].body)["inputs"]
    shape, brightness = given["shape"], [pixel / 16 for pixel in given["data"]]
    with service.cluster.port_forward(service.namespace, SERVICE, 80) as url:
        tensor = {"name": "brightness", "datatype": "FP32", "shape": shape, "data": brightness}
        reply = predict(url, json.dumps({"inputs": [tensor], "outputs": [{"name": "label"}]}))
        assert reply.status == 200, reply.body
        assert reply.body["outputs"][0]["data"] == [exchanges[0].label]
        assert predict(url, json.dumps({"inputs": [tensor | {"data": [0.5] * 20_000}]})).status == 413
        with urllib.request.urlopen(f"{url}/metrics", timeout=10) as response:  # noqa: S310 - loopback
            metrics = response.read().decode()
    for stage in ("scale", "digits"):
        [count] = [
            line for line in metrics.splitlines()
            if line.startswith("serinus_stage_duration_seconds_count") and f'stage="{stage}"' in line
        ]  # fmt: skip
        assert float(count.rpartition(" ")[2]) == 1
    with (
        service.cluster.port_forward(service.namespace, SERVICE, 9000) as url,
        grpc.insecure_channel(url.removeprefix("http://")) as channel,
    ):
        request = messages.ModelInferRequest(model_name=SERVICE)
        request.inputs.add(name="brightness", datatype="FP32", shape=shape).contents.fp32_contents.extend(brightness)
        request.outputs.add(name="label")
        infer: Any = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=messages.ModelInferRequest.SerializeToString,
            response_deserializer=messages.ModelInferResponse.FromString,
        )
        answer = infer(request, timeout=20)
    assert list(answer.outputs[0].contents.int64_contents) == [exchanges[0].label]
