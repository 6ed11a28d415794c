"""Hostile texts in every field of the spec that takes text: the API server and the models take and refuse the same."""

import pytest
from pydantic import ValidationError

from serinus.api.v1beta1 import InferenceServiceSpec
from tests.cluster.control_plane import ControlPlane
from tests.contract.api import RefusedError
from tests.contract.manifests import SMALLEST, Manifest
from tests.contract.test_agreement import stored
from tests.unit.core.test_templates import HOSTILE
from tests.unit.operator.test_every_spec_field_has_an_effect import BASE, changed
from tests.unit.operator.test_hostile_specs import TEXTS


def manifest(path: str, text: str) -> Manifest:
    return SMALLEST | {"spec": changed(BASE, path, text)}


def is_taken(server: ControlPlane, path: str, text: str) -> bool:
    """Whether the API server takes the text; it keeps it as it is, or says which field is wrong."""
    try:
        kept = stored(server.api, manifest(path, text))
    except RefusedError as error:
        assert f"spec.{path.partition('.')[0]}" in str(error), "the field is named"
        return False
    assert changed(kept["spec"], path, text) == kept["spec"]
    return True


def is_read(path: str, text: str) -> bool:
    try:
        InferenceServiceSpec.model_validate(manifest(path, text)["spec"], by_name=False)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("path", TEXTS)
def test_apiserver_and_pydantic_agree_on_hostile_texts(server: ControlPlane, path: str) -> None:
    texts = [tried for text in HOSTILE for tried in (text, f"{TEXTS[path]}{text}", f"s3://models/{text}")]
    taken = {text: is_taken(server, path, text) for text in texts}
    assert taken == {text: is_read(path, text) for text in texts}
