"""What the chart makes of its values."""

import os
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from serinus.api import crd
from serinus.config import load
from tests.chart.rendering import CHART, NAMESPACE, Object, Values, config, forget, helm, rendered, text

GOLDEN: Final = Path(__file__).parent / "golden" / "default.yaml"

DIGEST: Final = "sha256:" + "0123456789abcdef" * 4

EVERYTHING: Final[dict[str, Any]] = {
    "commonLabels": {"team": "ml", "cost-center": "42"},
    "replicas": 3,
    "image.registry": "registry.example:5000",
    "image.digest": DIGEST,
    "imagePullSecrets": [{"name": "pull"}],
    "server.image.registry": "registry.example:5000",
    "server.image.tag": "2.0.0",
    "server.image.pullPolicy": "Always",
    "server.imagePullSecrets": ["pull-models"],
    "server.huggingFaceEndpoint": "https://hub.example/a#b",
    "server.templateUpdates": "Canary",
    "tracing.otlpEndpoint": "https://collector.example:4318/a?b=c",
    "tracing.sampleRatio": 0.25,
    "prometheus.url": "https://prometheus.example/path?a=b#c",
    "prometheus.scrapeInterval": "30s",
    "prometheus.timeout": "1m30s",
    "prometheus.namespaceLabel": "kubernetes_namespace",
    "gateway.name": "shared",
    "gateway.namespace": "gateways",
    "gateway.domain": "models.example",
    "tokenReview.enabled": True,
    "models.requireSha256": True,
    "models.allowedUriPrefixes": [
        "s3://models/",
        "gs://m/",
        "az://m/",
        "https://m/",
        "oci://r.io/",
        "pvc://m/",
        "hf://m/",
    ],
    "watchNamespaces": ["risk", "search"],
    "workers": 8,
    "serviceAccount.annotations": {"iam.example/role": "serinus"},
    "podAnnotations": {"audit": "yes"},
    "metrics.scrapeAnnotations": False,
    "resources": {"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {"cpu": "2", "memory": 2147483648}},
    "priorityClassName": "system-cluster-critical",
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}}
    ],
}
"""Every value of values.yaml that has an effect in a template, set to something else."""

CASES: Final[dict[str, Values]] = {
    "default": {},
    "everything": EVERYTHING,
    "without_crd": {"crds.enabled": False},
    "without_roles": {"rbac.create": False, "rbac.aggregateToDefaultRoles": False},
    "own_service_account": {"serviceAccount.create": False, "serviceAccount.name": "mine"},
    "other_name": {"nameOverride": "operator"},
    "whole_other_name": {"fullnameOverride": "canary-bird"},
    "one_replica": {"replicas": 1},
}


def pod(objects: dict[str, Object]) -> Object:
    """The operator's pod."""
    [deployment] = [one for one in objects.values() if one["kind"] == "Deployment"]
    template: Object = deployment["spec"]["template"]
    return template


def container(values: Values) -> Object:
    """The operator's container."""
    [found] = pod(rendered(values))["spec"]["containers"]
    return dict(found)


def test_lint_finds_nothing() -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", "--kube-version", "1.35.0", str(CHART))


def test_render_golden() -> None:
    """Written anew with SERINUS_REWRITE_GOLDEN=1; without the CustomResourceDefinition, which has a test of its own."""
    made = text({"crds.enabled": False})
    if "SERINUS_REWRITE_GOLDEN" in os.environ:
        GOLDEN.write_text(made)
    assert made == GOLDEN.read_text()


@pytest.mark.parametrize("name", CASES)
def test_two_renders_are_byte_equal(name: str) -> None:
    first = text(CASES[name])
    forget()
    assert text(CASES[name]) == first


def test_default_objects() -> None:
    assert sorted(rendered()) == [
        "ClusterRole serinus",
        "ClusterRole serinus-edit",
        "ClusterRole serinus-view",
        "ClusterRoleBinding serinus",
        "ConfigMap serinus",
        "CustomResourceDefinition inferenceservices.serinus.dev",
        "Deployment serinus",
        "PodDisruptionBudget serinus",
        "Role serinus-election",
        "RoleBinding serinus-election",
        "Service serinus",
        "ServiceAccount serinus",
    ]


def test_watched_namespaces_get_roles_and_nothing_beyond() -> None:
    objects = rendered({"watchNamespaces": ["risk", "search"], "rbac.aggregateToDefaultRoles": False})
    roles = sorted(key for key in objects if "Role" in key)
    assert roles == [
        "Role risk/serinus",
        "Role search/serinus",
        "Role serinus-election",
        "RoleBinding risk/serinus",
        "RoleBinding search/serinus",
        "RoleBinding serinus-election",
    ]
    for namespace in ("risk", "search"):
        binding = objects[f"RoleBinding {namespace}/serinus"]
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "serinus", "namespace": NAMESPACE}]


def test_without_crd() -> None:
    assert not [key for key in rendered({"crds.enabled": False}) if key.startswith("CustomResourceDefinition")]


def test_without_roles() -> None:
    assert not [key for key in rendered(CASES["without_roles"]) if "Role" in key]


def test_crd_is_the_generated_one_and_stays_when_the_release_goes() -> None:
    made = rendered({"commonLabels": {"team": "ml"}})["CustomResourceDefinition inferenceservices.serinus.dev"]
    generated = crd.custom_resource_definition()
    assert made["spec"] == generated["spec"]
    assert made["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert made["metadata"]["labels"] == generated["metadata"]["labels"] | {"team": "ml"}


def test_common_labels_are_on_every_object_and_pod() -> None:
    objects = rendered(EVERYTHING)
    for key, one in objects.items():
        assert one["metadata"]["labels"].items() >= EVERYTHING["commonLabels"].items(), key
    assert pod(objects)["metadata"]["labels"].items() >= EVERYTHING["commonLabels"].items()


def test_common_labels_do_not_take_the_pods_from_their_selectors() -> None:
    objects = rendered({"commonLabels": {"app.kubernetes.io/name": "other", "app.kubernetes.io/version": "9"}})
    labels = pod(objects)["metadata"]["labels"]
    assert labels["app.kubernetes.io/name"] == "serinus"
    assert labels.items() >= objects["Deployment serinus"]["spec"]["selector"]["matchLabels"].items()
    assert labels.items() >= objects["Service serinus"]["spec"]["selector"].items()


def test_pod_annotations_take_precedence() -> None:
    annotations = pod(rendered({"podAnnotations": {"prometheus.io/port": "9090", "a": "b"}}))["metadata"]["annotations"]
    assert (annotations["prometheus.io/port"], annotations["a"]) == ("9090", "b")


IMAGES: Final[dict[str, tuple[Values, str]]] = {
    "default": ({}, "serinus-operator:0.1.0"),
    "tag": ({"image.tag": "1.2.3"}, "serinus-operator:1.2.3"),
    "registry": ({"image.registry": "registry.example:5000/ml"}, "registry.example:5000/ml/serinus-operator:0.1.0"),
    "digest": ({"image.digest": DIGEST, "image.tag": "1.2.3"}, f"serinus-operator@{DIGEST}"),
}


@pytest.mark.parametrize("name", IMAGES)
def test_image(name: str) -> None:
    values, image = IMAGES[name]
    assert container(values)["image"] == image
    of_the_server = {f"server.{path}": value for path, value in values.items()}
    assert yaml.safe_load(config(of_the_server))["server"]["image"] == image.replace("operator", "server")


def test_changed_settings_mean_a_new_pod_and_nothing_else_does() -> None:
    def checksum(values: Values) -> str:
        return str(pod(rendered(values))["metadata"]["annotations"]["serinus.dev/config-checksum"])

    assert checksum({"workers": 5}) != checksum({})
    assert checksum({"commonLabels": {"team": "ml"}}) == checksum({})


@pytest.mark.parametrize("name", CASES)
def test_config_is_accepted_by_the_operator(name: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    [found] = [one for one in rendered(CASES[name]).values() if one["kind"] == "ConfigMap"]
    path.write_text(found["data"]["config.yaml"])
    load(path)


def test_config_says_what_the_values_say(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(config(EVERYTHING))
    settings = load(path)
    assert settings.server.image == "registry.example:5000/serinus-server:2.0.0"
    assert settings.server.image_pull_policy == "Always"
    assert settings.server.image_pull_secrets == ("pull-models",)
    assert settings.server.template_updates == "Canary"
    assert settings.server.tracing is not None
    assert settings.server.tracing.otlp_endpoint == EVERYTHING["tracing.otlpEndpoint"]
    assert settings.server.tracing.sample_ratio == EVERYTHING["tracing.sampleRatio"]
    assert settings.prometheus.url == EVERYTHING["prometheus.url"]
    assert (settings.prometheus.scrape_interval, settings.prometheus.timeout) == ("30s", "1m30s")
    assert settings.prometheus.namespace_label == "kubernetes_namespace"
    assert settings.watch_namespaces == ("risk", "search")
    assert settings.workers == 8
    assert settings.token_review is True
    assert settings.models.require_sha256 is True
    assert list(settings.models.allowed_uri_prefixes) == EVERYTHING["models.allowedUriPrefixes"]
    assert settings.server.hugging_face_endpoint == EVERYTHING["server.huggingFaceEndpoint"]
    assert settings.gateway is not None
    assert settings.gateway.model_dump() == {"namespace": "gateways", "name": "shared", "domain": "models.example"}
    assert settings.lease is not None
    assert settings.lease.model_dump() == {"namespace": NAMESPACE, "name": "serinus"}


def test_pod_settings_are_handed_on() -> None:
    spec = pod(rendered(EVERYTHING))["spec"]
    assert spec["imagePullSecrets"] == [{"name": "pull"}]
    handed_on = ("priorityClassName", "nodeSelector", "tolerations", "affinity", "topologySpreadConstraints")
    assert {key: spec[key] for key in handed_on} == {key: EVERYTHING[key] for key in handed_on}


@pytest.mark.parametrize("name", CASES)
def test_the_operator_runs_with_no_more_rights_than_restricted_allows(name: str) -> None:
    spec = pod(rendered(CASES[name]))["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for one in spec["containers"]:
        assert one["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"requests", "limits"} <= set(one["resources"])


@pytest.mark.parametrize("name", CASES)
def test_rules_hold_no_wildcard_and_no_secret(name: str) -> None:
    for key, one in rendered(CASES[name]).items():
        for rule in one.get("rules", ()):
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]], key
            assert "secrets" not in rule["resources"], key


def test_names_follow_the_release() -> None:
    assert "Deployment blue-serinus" in rendered(release="blue")
    assert "Deployment serinus-blue" in rendered(release="serinus-blue")
    assert "Deployment canary-bird" in rendered({"fullnameOverride": "canary-bird"}, release="blue")
    assert "ServiceAccount canary-bird" in rendered({"fullnameOverride": "canary-bird"})
    [service] = [key for key in rendered(release="r" * 53) if key.startswith("Service ")]
    assert len(service.removeprefix("Service ")) <= 63


def test_names_that_yaml_takes_for_numbers_stay_names() -> None:
    objects = rendered({"watchNamespaces": ["2024"], "prometheus.namespaceLabel": "true"}, namespace="42")
    assert objects["Role 2024/serinus"]["metadata"]["namespace"] == "2024"
    assert objects["Deployment serinus"]["metadata"]["namespace"] == "42"
    assert yaml.safe_load(objects["ConfigMap serinus"]["data"]["config.yaml"])["lease"]["namespace"] == "42"


def test_own_service_account_is_used_and_not_made() -> None:
    objects = rendered(CASES["own_service_account"])
    assert not [key for key in objects if key.startswith("ServiceAccount")]
    assert pod(objects)["spec"]["serviceAccountName"] == "mine"
    assert objects["ClusterRoleBinding serinus"]["subjects"][0]["name"] == "mine"
