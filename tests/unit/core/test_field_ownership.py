"""What becomes of the fields that the creation of an object owns."""

import copy
from typing import Any

import pytest

from serinus.core.field_ownership import handed_to_apply


def entry(manager: str, operation: str, fields: dict[str, Any], **more: str) -> dict[str, Any]:
    return {"manager": manager, "operation": operation, "fieldsType": "FieldsV1", "fieldsV1": fields, **more}


FieldSet = dict[str, Any]

A: FieldSet = {"f:spec": {"f:a": {}}}
B: FieldSet = {"f:spec": {"f:b": {"f:c": {}}}, "f:metadata": {}}
BOTH: FieldSet = {"f:spec": {"f:a": {}, "f:b": {"f:c": {}}}, "f:metadata": {}}
REPLICAS: FieldSet = {"f:spec": {"f:a": {}, "f:replicas": {}}}
KUBECTL = entry("kubectl", "Update", {"f:spec": {"f:replicas": {}}})
SCALED = entry("serinus", "Update", {"f:spec": {"f:replicas": {}}}, subresource="scale")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param([entry("serinus", "Apply", A), KUBECTL], None, id="only ever applied"),
        pytest.param([entry("serinus", "Update", A)], None, id="only created"),
        pytest.param([entry("serinus", "Apply", A), SCALED], None, id="scaled"),
        pytest.param([entry("kubectl", "Update", A), entry("serinus", "Apply", B)], None, id="made by somebody else"),
        pytest.param(
            [entry("serinus", "Update", A), KUBECTL, SCALED, entry("serinus", "Apply", B)],
            [KUBECTL, SCALED, entry("serinus", "Apply", BOTH)],
            id="created, then applied",
        ),
        pytest.param(
            [entry("serinus", "Update", REPLICAS), entry("serinus", "Apply", A)],
            [entry("serinus", "Apply", A)],
            id="the replicas are nobody's",
        ),
    ],
)
def test_what_the_creation_owns_is_handed_to_the_apply(
    before: list[dict[str, Any]], after: list[dict[str, Any]] | None
) -> None:
    kept = copy.deepcopy(before)
    assert handed_to_apply(before, "serinus") == after
    assert before == kept
