"""Where the pods have the model from, by its URI."""

from typing import Any

import pytest

from serinus.api.v1beta1 import Credentials, Model
from serinus.core.model_volume import model_volume

SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
DIGEST = f"@sha256:{SHA256}"
OWN = {"emptyDir": {"sizeLimit": "10Gi"}}


def on_claim(name: str) -> dict[str, Any]:
    return {"persistentVolumeClaim": {"claimName": name, "readOnly": True}}


def in_image(reference: str) -> dict[str, Any]:
    return {"image": {"reference": reference, "pullPolicy": "IfNotPresent"}}


@pytest.mark.parametrize(
    ("uri", "volume", "arguments", "path"),
    [
        ("s3://models/1/model.onnx", OWN, ["fetch", "s3://models/1/model.onnx", "/models"], "/models"),
        ("gs://models/1/", OWN, ["fetch", "gs://models/1/", "/models"], "/models"),
        ("az://models/1.onnx", OWN, ["fetch", "az://models/1.onnx", "/models"], "/models"),
        ("hf://a/b@v1/m.onnx", OWN, ["fetch", "hf://a/b@v1/m.onnx", "/models"], "/models"),
        ("https://m.example/1.onnx", OWN, ["fetch", "https://m.example/1.onnx", "/models"], "/models"),
        ("pvc://a/1/m.onnx", on_claim("a"), ["verify", "--", "/models", "1/m.onnx"], "/models/1/m.onnx"),
        ("pvc://a/1/", on_claim("a"), ["verify", "--", "/models", "1/"], "/models/1/"),
        ("pvc://a/", on_claim("a"), ["verify", "--", "/models", ""], "/models/"),
        ("oci://r.io/a/b:7/m.onnx", in_image("r.io/a/b:7"), ["verify", "--", "/models", "m.onnx"], "/models/m.onnx"),
        ("oci://r.io/a/b:7", in_image("r.io/a/b:7"), ["verify", "--", "/models", ""], "/models/"),
        ("oci://r:5000/a:7/1/", in_image("r:5000/a:7"), ["verify", "--", "/models", "1/"], "/models/1/"),
        (
            f"oci://r:5000/a:7{DIGEST}/a:b",
            in_image(f"r:5000/a:7{DIGEST}"),
            ["verify", "--", "/models", "a:b"],
            "/models/a:b",
        ),
        (f"oci://localhost/a{DIGEST}/", in_image(f"localhost/a{DIGEST}"), ["verify", "--", "/models", ""], "/models/"),
        ("pvc://a/--sha256", on_claim("a"), ["verify", "--", "/models", "--sha256"], "/models/--sha256"),
    ],
)
def test_what_a_uri_means_for_the_pods(uri: str, volume: dict[str, Any], arguments: list[str], path: str) -> None:
    credentials = Credentials.model_validate({"secretName": "azure"}) if uri.startswith("az://") else None
    made = model_volume(Model(uri=uri, version="1", credentials=credentials))
    assert made.volume == {"name": "model", **volume}
    assert (made.preparation, made.arguments, made.model_path) == (arguments[0], arguments, path)
    assert made.is_read_only == (volume != OWN)


@pytest.mark.parametrize("uri", ["s3://models/1/model.onnx", "oci://r.io/a:1/m.onnx", "pvc://models/1/model.onnx"])
def test_a_digest_is_held_to_wherever_the_model_is(uri: str) -> None:
    arguments = model_volume(Model(uri=uri, version="1", sha256=SHA256)).arguments
    assert arguments[arguments.index("--sha256") + 1] == SHA256


@pytest.mark.parametrize(
    ("uri", "variables_from", "pull_secret"),
    [("s3://models/1/", "login", None), ("oci://r.io/a:1/", None, "login")],
)
def test_who_is_given_the_credentials(uri: str, variables_from: str | None, pull_secret: str | None) -> None:
    """The container that fetches, or the kubelet that pulls."""
    made = model_volume(Model.model_validate({"uri": uri, "version": "1", "credentials": {"secretName": "login"}}))
    assert (made.variables_from, made.pull_secret) == (variables_from, pull_secret)


def test_the_hub_of_the_platform_is_told_to_those_who_fetch_from_one() -> None:
    hub = [{"name": "HF_ENDPOINT", "value": "https://hub.example"}]
    assert model_volume(Model(uri="hf://a/b@v1/", version="1"), "https://hub.example").variables == hub
    assert model_volume(Model(uri="hf://a/b@v1/", version="1")).variables == []
    assert model_volume(Model(uri="s3://models/1/", version="1"), "https://hub.example").variables == []
