"""What a platform refuses of specs that are right by themselves."""

from typing import Any

import pytest

from serinus.api.v1beta1 import InferenceServiceSpec
from serinus.config import Settings
from serinus.core.platform import unfit_here

URI = "s3://models/fraud/1/model.onnx"
DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
GATEWAY = {"gateway": {"namespace": "infra", "name": "shared", "domain": "models.example"}}
BY_GATEWAY = {"canary": {"traffic": {"mode": "GatewayAPI"}}}
TOKENS = {"access": {"mode": "KubernetesToken"}}
ON_A_CLAIM = {"model": {"uri": "pvc://models/fraud/1/"}}
TLS = {"server": {"tls": {"secretName": "fraud-tls"}}}
BY_REPLICAS = {"canary": {"traffic": {"mode": "Replicas"}}}
STRICT = {
    "autoscaling": {"minReplicas": 2},
    "canary": {"steps": [{"weightPercent": 7, "duration": "1m"}], "traffic": {"precision": "Strict"}},
}


def models(**settings: Any) -> dict[str, Any]:  # noqa: ANN401 - parts of the settings
    return {"models": settings}


def up(path: str) -> dict[str, Any]:
    return {"model": {"uri": f"https://m.example/a{path}"}}


BELOW = models(allowedUriPrefixes=["https://m.example/a/"])


@pytest.mark.parametrize(
    ("spec", "platform", "says"),
    [
        pytest.param({}, {}, None, id="nothing is asked for"),
        pytest.param(BY_GATEWAY, {}, "Use Auto or Replicas", id="no Gateway"),
        pytest.param(BY_GATEWAY, GATEWAY, None, id="a Gateway"),
        pytest.param(TOKENS, {}, "Use APIKey", id="no reviews of tokens"),
        pytest.param(TOKENS, {"tokenReview": True}, None, id="reviews of tokens"),
        pytest.param(STRICT, {}, "step 1 asks for 7%", id="a weight that pods do not make"),
        pytest.param(STRICT, GATEWAY, None, id="a weight that a route makes"),
        pytest.param(TLS, {}, None, id="TLS"),
        pytest.param(TLS, GATEWAY, "Set spec.canary.traffic.mode: Replicas", id="TLS behind a Gateway"),
        pytest.param(TLS | BY_REPLICAS, GATEWAY, None, id="TLS beside a Gateway"),
        pytest.param({}, models(requireSha256=True), "State it, as sha256sum prints it", id="no digest"),
        pytest.param({"model": {"sha256": DIGEST}}, models(requireSha256=True), None, id="a digest"),
        pytest.param({}, models(allowedUriPrefixes=["s3://other/"]), "from s3://other/ alone", id="elsewhere"),
        pytest.param({}, models(allowedUriPrefixes=["https://m.example/", "s3://models/"]), None, id="one of two"),
        pytest.param(ON_A_CLAIM, models(allowedUriPrefixes=["s3://models/"]), "elsewhere", id="a claim is elsewhere"),
        pytest.param(ON_A_CLAIM, models(allowedUriPrefixes=["pvc://models/fraud/"]), None, id="a claim, allowed"),
        pytest.param(up("/../b/m.onnx"), BELOW, "by its dots leads, elsewhere", id="a way up past the prefix"),
        pytest.param(up("/%2E./b/m.onnx"), BELOW, "by its dots leads, elsewhere", id="an encoded way up"),
        pytest.param(up("/x/..?m.onnx"), BELOW, "by its dots leads, elsewhere", id="a way up before a query"),
        pytest.param(up("/.hidden/..x/v1..2/m.onnx"), BELOW, None, id="dots in names"),
        pytest.param(up("/../b/m.onnx"), {}, None, id="a way up where all is allowed"),
        pytest.param(ON_A_CLAIM, models(requireSha256=True), "State it", id="no digest of a model on a claim"),
    ],
)
def test_what_does_not_fit_is_told_with_what_to_do(
    spec: dict[str, Any], platform: dict[str, Any], says: str | None
) -> None:
    model = {"uri": URI, "version": "1"} | spec.get("model", {})
    read = InferenceServiceSpec.model_validate(spec | {"model": model})
    common = {"server": {"image": "i"}, "prometheus": {"url": "http://p"}}
    told = unfit_here(read, Settings.model_validate(common | platform))
    assert (told is None) if says is None else (told is not None and says in told)
