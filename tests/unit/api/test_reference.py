"""docs/api.md and the CRD: in step with the models, and every field explained."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from serinus.api import crd, reference

VERSION = crd.custom_resource_definition()["spec"]["versions"][0]
WHOLE = VERSION["schema"]["openAPIV3Schema"]
SCHEMA = WHOLE["properties"]


def fields(path: str, schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, field in schema.get("properties", {}).items():
        yield f"{path}.{name}", field
        yield from fields(f"{path}.{name}", field.get("items", field))


ALL = dict((*fields("spec", SCHEMA["spec"]), *fields("status", SCHEMA["status"])))


def test_the_page_is_what_the_models_make() -> None:
    assert reference.PAGE.read_text() == reference.render(), "run `make generate`"


@pytest.mark.parametrize("path", ALL)
def test_every_field_is_explained(path: str) -> None:
    """In a sentence that ends, and says more than the field's name."""
    told = ALL[path].get("description", "")
    assert re.fullmatch(r"[A-Z][^\n]*[.?']", told, re.DOTALL)
    assert len(told.split()) > 2


@pytest.mark.parametrize("path", [path for path in ALL if not path.startswith("status.rollout.policy.")])
def test_every_field_is_on_the_page(path: str) -> None:
    section, _, name = path.rpartition(".")
    part = re.search(rf"^## {re.escape(section)}(\[\])?\n(.*?)(?=^## |\Z)", plain(), re.DOTALL | re.MULTILINE)
    assert part is not None
    assert re.search(rf"^\| \[?(\*\*)?{name}\b", part[2], re.MULTILINE)


def rules(schema: object) -> Iterator[str]:
    """The messages of all CEL rules at and below `schema`."""
    if isinstance(schema, dict):
        yield from (rule["message"] for rule in schema.get("x-kubernetes-validations", ()))
    for inner in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from rules(inner)


@pytest.mark.parametrize("message", sorted(set(rules(WHOLE))))
def test_every_rule_is_on_the_page(message: str) -> None:
    assert message in reference.render()


def test_constraints_are_on_the_page() -> None:
    page = reference.render()
    assert "| **version** | string, up to 63 characters, `^[A-Za-z0-9](" in page
    assert "| **uri** | string, up to 1024 characters |" in page
    assert "| minReplicas | integer, 1 to 1000 |" in page
    assert "- metadata.name has up to 52 characters\n" in page


def plain() -> str:
    """The page with paths as in the schema."""
    return re.sub(r"^(## .*)$", lambda match: match[1].replace("[].", "."), reference.render(), flags=re.MULTILINE)


def test_every_link_on_the_page_leads_somewhere() -> None:
    page = reference.render()
    headings = re.findall(r"^## (.*)$", page, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-") for heading in headings}
    links = set(re.findall(r"\]\(#([^)]*)\)", page))
    assert links <= anchors
    for file in re.findall(r"\]\(([a-z]+\.md)\)", page):
        assert (reference.PAGE.parent / file).is_file()


def test_the_crd_can_be_applied_with_kubectl() -> None:
    """`kubectl apply` keeps a copy of the object in an annotation, which may hold 256 KiB."""
    assert len(crd.render().encode()) < 256 * 1024
