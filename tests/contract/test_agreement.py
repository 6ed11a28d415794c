"""The API server and the models agree on what is a right InferenceService, and the API server says what is wrong."""

import re

import pytest
from kubernetes import client
from pydantic import ValidationError

from serinus.api.v1beta1 import NAME_MAX_LENGTH, NAME_PATTERN, InferenceServiceSpec
from serinus.core.revision import revision_of
from tests.cluster.control_plane import ControlPlane
from tests.contract.api import RefusedError, send
from tests.contract.manifests import BAD_NAMES, INVALID, VALID, Example, Manifest


def parsed(manifest: Manifest) -> InferenceServiceSpec:
    """What the models make of the spec; names of fields are those of the wire. Raises ValidationError."""
    return InferenceServiceSpec.model_validate(manifest.get("spec"), by_name=False)


def stored(api: client.ApiClient, manifest: Manifest) -> Manifest:
    """What the API server would store for `manifest`, as strict as `kubectl apply`. Raises RefusedError."""
    query = {"dryRun": "All", "fieldValidation": "Strict"}
    return send(api, "POST", "/apis/serinus.dev/v1beta1/namespaces/default/inferenceservices", manifest, query)


@pytest.mark.parametrize("example", VALID, ids=lambda example: example.name)
def test_apiserver_and_pydantic_agree_valid(server: ControlPlane, example: Example) -> None:
    manifest = example.manifest()
    written = parsed(manifest)
    read = parsed(stored(server.api, manifest))
    assert read == written, "the defaults of the API server are those of the models"
    assert revision_of(read) == revision_of(written)


@pytest.mark.parametrize("example", INVALID, ids=lambda example: example.name)
def test_apiserver_and_pydantic_agree_invalid(server: ControlPlane, example: Example) -> None:
    manifest = example.manifest()
    with pytest.raises(RefusedError) as refusal:
        stored(server.api, manifest)
    assert re.search(example.says, str(refusal.value), re.DOTALL), refusal.value
    with pytest.raises(ValidationError):
        parsed(manifest)


@pytest.mark.parametrize("example", BAD_NAMES, ids=lambda example: example.name)
def test_a_name_that_cannot_name_the_children_is_refused(server: ControlPlane, example: Example) -> None:
    manifest = example.manifest()
    name = manifest["metadata"]["name"]
    assert not re.fullmatch(NAME_PATTERN, name) or len(name) > NAME_MAX_LENGTH
    with pytest.raises(RefusedError, match=example.says):
        stored(server.api, manifest)


@pytest.mark.parametrize("examples", [VALID, INVALID, BAD_NAMES], ids=["valid", "invalid", "names"])
def test_examples_have_names_of_their_own(examples: tuple[Example, ...]) -> None:
    assert len({example.name for example in examples}) == len(examples)
