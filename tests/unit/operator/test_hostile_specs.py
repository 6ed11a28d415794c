"""Whatever text stands in a field of the spec: a clear error, or that very text where a harmless one would be."""

import json
import re
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from serinus.api.problems import spec_problems
from serinus.api.v1beta1 import InferenceServiceSpec
from serinus.core.canary import first_state
from serinus.core.desired import desired
from serinus.core.observe import Observed
from serinus.core.pod_template import pod_template
from serinus.core.revision import revision_of
from tests.unit.core import rollouts
from tests.unit.core.test_templates import HOSTILE, substituted
from tests.unit.operator.test_every_spec_field_has_an_effect import (
    AUDIT,
    BASE,
    FRAUD,
    GATEWAY,
    PIPELINE,
    SERVER,
    changed,
    leaves,
)
from tests.unit.operator.test_reconciler import Bench

Spec = dict[str, Any]

TEXTS: Final[dict[str, str]] = {
    "model.uri": "s3://m4rk/model.onnx",
    "model.version": "m4rk",
    "model.sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "model.credentials.secretName": "m4rk",
    "model.pipeline.name": "m4rk",
    "model.pipeline.file": "m4rk/model.onnx",
    "server.batching": "Off",
    "server.tls.secretName": "m4rk",
    "server.workers": "17",
    "server.limits.maxBodySize": "1717Ki",
    "server.limits.requestTimeout": "17s",
    "access.mode": "APIKey",
    "audit.url": "http://m4rk/",
    "audit.sample": "17%",
    "resources.requests.cpu": "1717m",
    "resources.requests.memory": "1717Mi",
    "resources.limits.cpu": "3717m",
    "resources.limits.memory": "3717Mi",
    "canary.steps.duration": "17s",
    "canary.analysis.interval": "17s",
    "canary.analysis.latency.threshold": "250ms",
    "canary.analysis.errors.threshold": "17%",
    "canary.analysis.baseline.tolerance": "1.7",
    "canary.analysis.onInsufficientTraffic": "Promote",
    "canary.traffic.mode": "Replicas",
    "canary.traffic.precision": "Approximate",
    "canary.promotion": "Manual",
    "canary.deadline": "17h",
    "restartedAt": "2026-03-01T03:00:00Z",
}
"""A harmless text for each field that takes text."""

CONVERTED: Final = {"server.limits.maxBodySize": str(1717 << 10), "server.limits.requestTimeout": "17000ms"}
"""What the server is told in place of a text."""

PLAUSIBLE: Final = {
    "model.uri": st.from_regex(r"\A(s3|https)://[^/@\s]{1,20}/\S{1,40}\Z"),
    "model.version": st.from_regex(r"\A[A-Za-z0-9][-_.A-Za-z0-9]{0,60}[A-Za-z0-9]\Z"),
    "model.sha256": st.from_regex(r"\A[0-9a-f]{64}\Z"),
    "model.credentials.secretName": st.from_regex(r"\A[a-z0-9]([-.a-z0-9]{0,20}[a-z0-9])?\Z"),
    "server.tls.secretName": st.from_regex(r"\A[a-z0-9]([-.a-z0-9]{0,20}[a-z0-9])?\Z"),
}
"""Texts that come through, in the fields that reach a manifest."""


def base(path: str) -> Spec:
    """A spec that has a place for the field."""
    spec = BASE
    for part, surroundings in (("model.pipeline", PIPELINE), ("audit", AUDIT)):
        for name, value in surroundings.items() if path.startswith(part) else ():
            spec = changed(spec, name, value)
    return spec


def read(spec: Spec) -> InferenceServiceSpec:
    return InferenceServiceSpec.model_validate(spec)


def manifests(spec: InferenceServiceSpec) -> object:
    asked = revision_of(spec)
    state = first_state(asked, rollouts.START)
    made = list(desired(FRAUD, spec, asked, state, Observed(), SERVER, GATEWAY).manifests)
    for one in made:
        if one["kind"] == "ConfigMap":
            one["data"] = {name: json.loads(text) for name, text in one["data"].items()}
    return made


def check(path: str, text: str) -> None:
    """An error that names the field, or the manifests of the harmless text with this one in its place."""
    try:
        spec = read(changed(base(path), path, text))
    except ValidationError as error:
        told = spec_problems(error)
        assert told.startswith(f"spec.{path.partition('.')[0]}"), told
        return
    harmless = read(changed(base(path), path, TEXTS[path]))
    expected = substituted(manifests(harmless), TEXTS[path], text.replace("$", "$$") if path == "model.uri" else text)
    revisions = revision_of(harmless).name, revision_of(spec).name
    assert manifests(spec) == substituted(expected, *revisions)


def takes_text(path: str) -> bool:
    try:
        read(changed(base(path), path, 17.5))
    except ValidationError as error:
        return any(one["type"] in ("string_type", "literal_error") for one in error.errors())
    return False


def test_all_fields_that_take_text_are_in_the_table() -> None:
    assert {path for path in leaves(InferenceServiceSpec) if takes_text(path)} == set(TEXTS)


@pytest.mark.parametrize("path", TEXTS)
def test_harmless_texts_are_taken(path: str) -> None:
    check(path, TEXTS[path])
    read(changed(base(path), path, TEXTS[path]))


@pytest.mark.parametrize("path", [path for path in TEXTS if path.startswith(("model.", "server.", "resources."))])
def test_what_the_pods_run_stands_in_the_manifests(path: str) -> None:
    """Or a text could be lost, and none the wiser: it would be missing from both sides of the comparison."""
    told = CONVERTED.get(path, TEXTS[path].lower() if path == "server.batching" else TEXTS[path])
    assert told in json.dumps(manifests(read(changed(base(path), path, TEXTS[path]))))


@pytest.mark.parametrize("path", TEXTS)
@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_hostile_strings(path: str, text: str) -> None:
    check(path, text)
    check(path, f"{TEXTS[path]}{text}")
    check(path, f"s3://models/{text}")


@pytest.mark.parametrize(
    "uri", ["s3://m/$(AWS_SECRET_ACCESS_KEY)/$$(x)/$1", "pvc://m/$(AWS_SECRET_ACCESS_KEY)/$$(x)/$1"]
)
def test_no_variable_of_a_secret_gets_into_a_uri(uri: str) -> None:
    """Kubernetes puts variables in the place of $(NAME) in arguments, and a dollar in that of two."""
    template = pod_template(FRAUD, read(changed(BASE, "model.uri", uri)), revision_of(read(BASE)), SERVER)
    containers = [*template["spec"]["initContainers"], *template["spec"]["containers"]]
    given = [argument for container in containers for argument in container["args"] if "AWS" in argument]
    assert given
    for argument in given:
        assert "$" not in argument.replace("$$", "")
        assert argument.replace("$$", "$").endswith("$(AWS_SECRET_ACCESS_KEY)/$$(x)/$1")


@given(st.sampled_from(sorted(TEXTS)), st.text())
def test_any_string(path: str, text: str) -> None:
    check(path, text)


@given(st.data())
def test_any_string_that_is_taken(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(PLAUSIBLE)))
    check(path, data.draw(PLAUSIBLE[path]))


@pytest.mark.parametrize("path", TEXTS)
def test_very_long_strings_are_refused(path: str) -> None:
    with pytest.raises(ValidationError):
        read(changed(base(path), path, TEXTS[path] + "1" * 100_000))


@pytest.mark.parametrize("text", [*HOSTILE, "x" * 100_000], ids=lambda text: ascii(text[:40]))
def test_a_hostile_string_that_is_stored_is_told_and_makes_nothing(text: str) -> None:
    """As it may be where the definition of a former version let it pass."""
    bench = Bench(model={"uri": text, "version": "latest"})
    bench.settle()
    assert bench.cluster.take_calls() == ["status"]
    ready = bench.cluster.condition("Ready")
    assert ready is not None
    assert ready["reason"] == "InvalidSpec"
    assert re.match(r"spec\.model\.uri: .*spec\.model\.version: ", ready["message"], re.DOTALL)
    assert len(ready["message"]) <= 4096
