"""values.schema.json: closed, in step with values.yaml, and clear about what is wrong."""

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest
import yaml

from serinus.api.units import DURATION_PATTERN
from tests.chart.rendering import CHART, helm, text
from tests.cluster.errors import ClusterError

SCHEMA: Final = json.loads((CHART / "values.schema.json").read_text())
VALUES: Final = yaml.safe_load((CHART / "values.yaml").read_text())

FREE: Final = ("global", "affinity", "tolerations", "topologySpreadConstraints")
"""What Kubernetes or helm defines, and is handed on as it is."""

WRONG: Final[dict[str, tuple[str, Any, str]]] = {
    "unknown": ("promehteus.url", "http://prometheus:9090", r"promehteus"),
    "unknown_below": ("image.repo", "serinus-operator", r"repo"),
    "unknown_of_the_server": ("server.replicas", 3, r"replicas"),
    "text_for_a_number": ("workers", "four", r"workers"),
    "no_workers": ("workers", 0, r"workers"),
    "no_replicas": ("replicas", 0, r"replicas"),
    "text_for_a_truth_value": ("crds.enabled", "no", r"crds[./]enabled"),
    "pull_policy": ("image.pullPolicy", "Sometimes", r"image[./]pullPolicy"),
    "template_updates": ("server.templateUpdates", "Always", r"server[./]templateUpdates"),
    "hub_without_tls": ("server.huggingFaceEndpoint", "http://hub.example", r"server[./]huggingFaceEndpoint"),
    "prefix_of_no_scheme": ("models.allowedUriPrefixes", ["models/"], r"models[./]allowedUriPrefixes"),
    "short_digest": ("image.digest", "sha256:123", r"image[./]digest"),
    "tag_with_a_colon": ("image.tag", "a:b", r"image[./]tag"),
    "empty_repository": ("server.image.repository", "", r"server[./]image[./]repository"),
    "endpoint_without_scheme": ("tracing.otlpEndpoint", "collector:4317", r"tracing[./]otlpEndpoint"),
    "sample_ratio_in_percent": ("tracing.sampleRatio", 25, r"tracing[./]sampleRatio"),
    "url_without_scheme": ("prometheus.url", "prometheus:9090", r"prometheus[./]url"),
    "interval_without_unit": ("prometheus.scrapeInterval", "15", r"prometheus[./]scrapeInterval"),
    "interval_with_a_fraction": ("prometheus.scrapeInterval", "1.5s", r"prometheus[./]scrapeInterval"),
    "timeout_as_a_number": ("prometheus.timeout", 10, r"prometheus[./]timeout"),
    "label_with_a_dash": ("prometheus.namespaceLabel", "kubernetes-namespace", r"prometheus[./]namespaceLabel"),
    "namespace_in_capitals": ("watchNamespaces", ["Risk"], r"watchNamespaces"),
    "namespace_twice": ("watchNamespaces", ["risk", "risk"], r"watchNamespaces"),
    "namespaces_as_text": ("watchNamespaces", "risk", r"watchNamespaces"),
    "label_as_a_number": ("commonLabels", {"team": 7}, r"commonLabels"),
    "secret_as_text": ("imagePullSecrets", ["pull"], r"imagePullSecrets"),
    "name_in_capitals": ("fullnameOverride", "Serinus", r"fullnameOverride"),
    "name_that_begins_with_a_digit": ("fullnameOverride", "7serinus", r"fullnameOverride"),
    "part_of_a_name_in_capitals": ("nameOverride", "Operator", r"nameOverride"),
    "gateway_without_namespace": ("gateway.name", "shared", r"gateway"),
    "section_removed": ("metrics", None, r"metrics"),
    "image_removed": ("server.image", None, r"image"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_values_are_refused_and_named(name: str) -> None:
    path, value, named = WRONG[name]
    with pytest.raises(ClusterError, match=named):
        text({path: value})


def test_every_value_has_a_schema_and_the_other_way_round() -> None:
    assert sorted(_paths_of_values(VALUES)) == sorted(_paths_of_schema(SCHEMA))


def test_schema_is_closed() -> None:
    assert [
        path for path, schema in _objects(SCHEMA) if "additionalProperties" not in schema and path not in FREE
    ] == []


def test_durations_are_those_of_the_operator() -> None:
    assert SCHEMA["definitions"]["duration"]["pattern"] == DURATION_PATTERN


def test_values_yaml_explains_every_section() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    assert sum(line.lstrip().startswith("#") for line in lines) >= len(VALUES) / 2
    assert all(len(line) <= 120 for line in lines)


def test_kubernetes_before_the_oldest_is_refused() -> None:
    with pytest.raises(ClusterError, match=r"1\.29"):
        helm("template", "serinus", str(CHART), "--kube-version", "1.29.0")


def _resolved(schema: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref", "").rpartition("/")[2]
    return dict(SCHEMA["definitions"][reference]) if reference else schema


def _objects(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    schema = _resolved(schema)
    if schema.get("type") == "object":
        yield path, schema
    for name, part in schema.get("properties", {}).items():
        yield from _objects(part, f"{path}.{name}".removeprefix("."))
    if "items" in schema and path not in FREE:
        yield from _objects(schema["items"], f"{path}[]")


def _paths_of_values(values: dict[str, Any], path: str = "") -> Iterator[str]:
    for name, value in values.items():
        below = f"{path}.{name}".removeprefix(".")
        if isinstance(value, dict) and value and below != "resources":
            yield from _paths_of_values(value, below)
        else:
            yield below


def _paths_of_schema(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    for name, part in schema["properties"].items():
        below, resolved = f"{path}.{name}".removeprefix("."), _resolved(part)
        if "properties" in resolved and below != "resources":
            yield from _paths_of_schema(resolved, below)
        elif below != "global":
            yield below
