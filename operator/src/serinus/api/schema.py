"""Pydantic's JSON schema, made into the structural schema that a CustomResourceDefinition takes."""

from typing import Any, Final

from pydantic import BaseModel, JsonValue

Schema = dict[str, Any]

_REFUSED_KEYWORDS: Final = frozenset({"title", "additionalProperties", "const", "discriminator", "$defs"})
"""Keywords that mean nothing to, or are refused by, a structural schema that prunes unknown fields."""

_UNTYPED: Final = "x-kubernetes-int-or-string"


def structural_schema(model: type[BaseModel], *, written_by_users: bool) -> Schema:
    """The OpenAPI v3 schema of `model` without $ref, without null, and with every type written out.

    What is not written by users gets no defaults and no CEL rules: it is right already, and an older or newer
    operator's must not be refused. Raises ValueError for a construct that a structural schema cannot say.
    """
    schema = model.model_json_schema(by_alias=True, mode="validation")
    refused = _REFUSED_KEYWORDS if written_by_users else _REFUSED_KEYWORDS | {"default", "x-kubernetes-validations"}
    return _structural(schema, schema.get("$defs", {}), refused)


def _structural(schema: Schema, definitions: dict[str, Schema], refused: frozenset[str]) -> Schema:
    resolved = _without_null(_resolved(schema, definitions), definitions)
    result: Schema = {}
    for keyword, value in resolved.items():
        if keyword == "properties":
            result[keyword] = {name: _structural(part, definitions, refused) for name, part in value.items()}
        elif keyword == "items":
            result[keyword] = _structural(value, definitions, refused)
        elif keyword in refused or (keyword == "default" and value is None):
            continue
        elif keyword == "default":
            result[keyword] = _without_unset(value)
        else:
            result[keyword] = value
    return _checked(result)


def _resolved(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    """`schema` with its $ref replaced by the definition; what stands beside the $ref takes precedence."""
    reference = schema.get("$ref")
    if reference is None:
        return schema
    beside = {keyword: value for keyword, value in schema.items() if keyword != "$ref"}
    return {**definitions[reference.removeprefix("#/$defs/")], **beside}


def _without_null(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    """An optional value's schema without the null alternative: an absent field says the same."""
    alternatives = [choice for choice in schema.get("anyOf", []) if choice.get("type") != "null"]
    if not alternatives:
        return schema
    if len(alternatives) != 1:
        raise ValueError(f"a structural schema has no place for the alternatives {alternatives}")
    beside = {keyword: value for keyword, value in schema.items() if keyword != "anyOf"}
    return {**_resolved(alternatives[0], definitions), **beside}


def _without_unset(value: JsonValue) -> JsonValue:
    """A default without the fields that it leaves unset."""
    if isinstance(value, dict):
        return {name: _without_unset(part) for name, part in value.items() if part is not None}
    return value


def _checked(schema: Schema) -> Schema:
    if _UNTYPED in schema:
        return {keyword: value for keyword, value in schema.items() if keyword != "type"}
    if "type" not in schema:
        raise ValueError(f"a structural schema needs a type in {schema}")
    return schema
