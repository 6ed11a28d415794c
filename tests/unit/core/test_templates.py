"""Values cannot break out of their place in a template, and what is missing is an error."""

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serinus.core import templates
from serinus.core.templates import RenderError, render, templates_directory

REPOSITORY = Path(__file__).parents[3]

OWNER = {"apiVersion": "serinus.dev/v1beta1", "kind": "InferenceService", "name": "fraud", "uid": "1"}
COMMON: dict[str, Any] = {"name": "fraud", "namespace": "risk", "labels": {"a": "b"}, "owners": [OWNER]}
VALUES: dict[str, dict[str, Any]] = {
    "controllerrevision.yaml.j2": COMMON | {"number": 1, "pod_template": {"spec": {"containers": []}}},
    "deployment.yaml.j2": COMMON | {"selector": {"a": "b"}, "pod_template": {"spec": {"containers": []}}},
    "horizontalpodautoscaler.yaml.j2": COMMON
    | {
        "target": "fraud-0a",
        "min_replicas": 1,
        "max_replicas": 2,
        "cpu_utilization_percent": 70,
        "in_flight_requests": 4,
    },
    "httproute.yaml.j2": COMMON
    | {
        "gateway_name": "shared",
        "gateway_namespace": "infra",
        "host": "fraud.risk.models.example",
        "backends": [{"name": "fraud-0a", "port": 80, "weight": 100}],
    },
    "pod-template.yaml.j2": {
        "service": "fraud",
        "revision": "0a",
        "version": "7",
        "labels": {"a": "b"},
        "selector": {"a": "b"},
        "image": "registry.example/s:1",
        "image_pull_policy": "Always",
        "image_pull_secrets": [{"name": "r"}],
        "preparation": "fetch",
        "preparation_arguments": ["fetch", "s3://models/7.onnx"],
        "preparation_variables": [{"name": "HF_ENDPOINT", "value": "https://hub.example"}],
        "model_volume": {"name": "model", "persistentVolumeClaim": {"claimName": "models", "readOnly": True}},
        "model_path": "/models/7.onnx",
        "is_read_only": True,
        "credentials_secret": "s3",
        "resources": {"limits": {"cpu": "1"}},
        "pipeline": "a=a.onnx",
        "has_grpc": True,
        "workers": "4",
        "tls_secret": "fraud-tls",
        "batching": "auto",
        "max_body_size": 1024,
        "request_timeout": "30s",
        "grace_period": 60,
        "policy": "fraud-policy",
        "api_keys": "fraud-api-keys",
        "asks_kubernetes": True,
        "namespace": "risk",
        "otlp_endpoint": "http://collector:4318",
        "sample_ratio": "0.5",
    },
    "configmap.yaml.j2": COMMON | {"policy": "{}"},
    "poddisruptionbudget.yaml.j2": COMMON | {"selector": {"a": "b"}},
    "service.yaml.j2": COMMON | {"selector": {"a": "b"}, "ports": [{"name": "http", "port": 80}]},
}

Place = tuple[str | int, ...]


def strings(value: object, place: Place = ()) -> Iterator[Place]:
    """Where the strings are within `value`."""
    match value:
        case str():
            yield place
        case dict():
            for key, inner in value.items():
                yield from strings(inner, (*place, key))
        case list():
            for index, inner in enumerate(value):
                yield from strings(inner, (*place, index))


def replaced(values: dict[str, Any], place: Place, text: str) -> dict[str, Any]:
    """A copy of `values` with another string in a place."""
    values = copy.deepcopy(values)
    inner: Any = values
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = text
    return values


def substituted(rendered: object, before: str, after: str) -> object:
    """`rendered` with one text in the place of another, in values only."""
    match rendered:
        case str():
            return rendered.replace(before, after)
        case dict():
            return {key: substituted(inner, before, after) for key, inner in rendered.items()}
        case list():
            return [substituted(inner, before, after) for inner in rendered]
    return rendered


PLACES = [
    pytest.param(template, place, id=f"{template.partition('.')[0]}:{'.'.join(map(str, place))}")
    for template, values in VALUES.items()
    for place in strings(values)
]
MARK = "m4rk"

HOSTILE = [
    '"',
    "'",
    "\\",
    "\\n",
    "a\nimage: evil",
    "a\r\nimage: evil",
    '", "command": ["sh"], "x": "',
    "}} {{ 7 * 7 }} {% raw %}",
    "{% if true %}x{% endif %}",
    "- a\n- b",
    "*restricted",
    "&restricted",
    "!!python/object/apply:os.system [id]",
    "# no comment",
    ": {a: b}, [c]",
    "--- \n...",
    "yes",
    "no",
    "null",
    "~",
    "1e3",
    "0x10",
    "12:30:45",
    "2026-03-01",
    "",
    " ",
    "\t",
    "\x00",
    "\x7f",
    "\x85\u2028\u2029\ufeff",
    "naïve – 模型 🐤",
]


@pytest.mark.parametrize(("template", "place"), PLACES)
def test_hostile_strings_cannot_break_out_of_a_template(template: str, place: Place) -> None:
    """Every string that a template takes comes out as that string, in the places where a harmless one would."""
    harmless = render(template, **replaced(VALUES[template], place, MARK))
    for text in HOSTILE:
        rendered = render(template, **replaced(VALUES[template], place, text))
        if place in {("credentials_secret",), ("pipeline",), ("tls_secret",), ("workers",)} and not text:
            continue  # left out
        assert rendered == substituted(harmless, MARK, text)


@given(st.sampled_from(PLACES), st.text(min_size=1))
def test_no_string_at_all_breaks_out(place: Any, text: str) -> None:  # noqa: ANN401 - pytest's parameters
    template, where = place.values
    harmless = render(template, **replaced(VALUES[template], where, MARK))
    assert render(template, **replaced(VALUES[template], where, text)) == substituted(harmless, MARK, text)


@given(st.dictionaries(st.text(max_size=63), st.text(), max_size=3))
def test_keys_are_quoted_too(labels: dict[str, str]) -> None:
    rendered = render("service.yaml.j2", **VALUES["service.yaml.j2"] | {"labels": labels})
    assert rendered["metadata"]["labels"] == labels


@pytest.mark.parametrize(
    ("template", "name"), [(template, name) for template, values in VALUES.items() for name in values]
)
def test_undefined_template_variable_raises(template: str, name: str) -> None:
    values = {key: value for key, value in VALUES[template].items() if key != name}
    with pytest.raises(RenderError, match=f"{template}: '{name}' is undefined"):
        render(template, **values)


def test_all_templates_are_tested() -> None:
    assert {path.name for path in (REPOSITORY / "templates").iterdir()} == set(VALUES)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- a", "makes a list, not an object"),
        ("", "makes a NoneType, not an object"),
        ("a: [", "while parsing a flow node"),
        ("{% if %}", "Expected an expression"),
        ("a: {{ b.c }}", "'b' is undefined"),
    ],
)
def test_a_template_that_makes_no_object_is_refused(
    text: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "odd.yaml.j2").write_text(text)
    monkeypatch.setattr(templates, "templates_directory", lambda: tmp_path)
    with pytest.raises(RenderError, match=re.escape("odd.yaml.j2: ")) as caught:
        render("odd.yaml.j2")
    assert problem in str(caught.value)


def test_a_template_that_is_not_there_is_named() -> None:
    with pytest.raises(RenderError, match=re.escape("nothing.yaml.j2")):
        render("nothing.yaml.j2")


def test_templates_of_the_installed_package_come_first(tmp_path: Path) -> None:
    packaged = tmp_path / "_templates"
    assert templates_directory(packaged, tmp_path) == tmp_path
    packaged.mkdir()
    assert templates_directory(packaged, tmp_path) == packaged


def test_templates_of_a_checkout_are_found() -> None:
    assert templates_directory() == REPOSITORY / "templates"
    package = Path(templates.__file__).parents[1]
    assert templates_directory.__defaults__ == (package / "_templates", REPOSITORY / "templates")
