"""What the API's models have in common."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator
from pydantic.alias_generators import to_camel

from serinus.api import units


class SpecModel(BaseModel):
    """A part of the spec: camelCase on the wire, immutable, and closed to fields it does not know."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, value: object) -> object:
        """Read a null as the API server does: as if the field were not there."""
        if isinstance(value, dict):
            return {name: part for name, part in value.items() if part is not None}
        return value


class StatusModel(BaseModel):
    """A part of the status: written by the operator only, so fields of a newer operator are let pass."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)

    def to_wire(self) -> dict[str, Any]:
        """The JSON form that the API server stores: camelCase, without fields that are unset."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def cel_rule(rule: str, message: str, **more: str) -> dict[str, JsonValue]:
    """One CEL rule of the CRD; `more` takes messageExpression, reason and fieldPath."""
    return {"rule": rule, "message": message, **more}


def cel_rules(*rules: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """The addition to a JSON schema that makes the API server check `rules`."""
    return {"x-kubernetes-validations": list[JsonValue](rules)}


Duration = Annotated[str, Field(pattern=units.DURATION_PATTERN, max_length=16)]
"""A span of time such as 250ms, 30s or 1h30m."""

Percentage = Annotated[str, Field(pattern=units.PERCENTAGE_PATTERN, max_length=8)]
"""A share such as 1% or 0.5%."""

Whole = Annotated[int, Field(strict=True)]
"""A whole number; text or a truth value is none."""

TruthValue = Annotated[bool, Field(strict=True)]
"""True or false; a number or text is neither."""


def whole_number_as_text(value: object) -> object:
    """Read a number as the text of its digits, where text and numbers are taken."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Quantity = Annotated[
    str,
    Field(
        pattern=units.QUANTITY_PATTERN,
        max_length=20,
        # The API server holds text to the pattern, and whole numbers to the minimum.
        json_schema_extra={"x-kubernetes-int-or-string": True, "minimum": 0},
    ),
    BeforeValidator(whole_number_as_text),
]
"""A Kubernetes quantity such as 500m, 2 or 1Gi."""
