"""Rendering of the children's manifests from templates/, with every value put in after the YAML was parsed.

Where a template names a value, a tag with a number is written. No value passes through YAML, so that none can break out
of its place, and templates that differ in their values only are parsed once.
"""

from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError, Undefined, pass_context
from jinja2.runtime import Context

_PACKAGED: Final = Path(__file__).parents[1] / "_templates"
_CHECKED_OUT: Final = Path(__file__).parents[4] / "templates"


_TAG: Final = "!given"

_values: ContextVar[list[object]] = ContextVar("values")
"""The values that the template at hand has named so far."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the value of a number belongs."""

    number: int


class RenderError(Exception):
    """A template asks for something that it was not given, or does not make a Kubernetes object."""


def templates_directory(packaged: Path = _PACKAGED, checked_out: Path = _CHECKED_OUT) -> Path:
    """Where the templates lie: in the installed package, or in the checkout that an editable install points to."""
    return packaged if packaged.is_dir() else checked_out


@pass_context  # without it, Jinja would ask for constants when the template is compiled
def _finalize(_: Context, value: object) -> object:
    """What a template writes for a value."""
    if isinstance(value, Undefined):
        return value
    values = _values.get()
    values.append(value)
    return f"{_TAG} {len(values) - 1}"


@cache
def _environment(directory: Path) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(directory),
        undefined=StrictUndefined,
        finalize=_finalize,
        auto_reload=False,  # it would look at the file for each rendering
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 - what is made is YAML, and holds no value
    )
    # Jinja's own functions would stand in for values that were not given: one is called `namespace`.
    environment.globals.clear()
    return environment


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The safe loader, which also knows the tag."""


_Loader.add_constructor(_TAG, lambda _, node: _Place(int(node.value)))


@lru_cache(maxsize=64)
def _parsed(text: str) -> object:
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - it is a safe one


def _filled(node: object, values: list[object]) -> Any:  # noqa: ANN401 - whatever the node is
    """A copy of the parsed template with the values in their places, which are shared."""
    match node:
        case _Place(number):
            return values[number]
        case dict():
            return {key: _filled(inner, values) for key, inner in node.items()}
        case list():
            return [_filled(inner, values) for inner in node]
    return node


def render(template: str, **values: object) -> dict[str, Any]:
    """Render `templates/<template>` to an object, which shares what `values` holds. Raises RenderError."""
    named: list[object] = []
    token = _values.set(named)
    try:
        text = _environment(templates_directory()).get_template(template).render(**values)
        rendered = _filled(_parsed(text), named)
    except (TemplateError, yaml.YAMLError) as error:
        raise RenderError(f"template {template}: {error}") from error
    finally:
        _values.reset(token)
    if not isinstance(rendered, dict):
        raise RenderError(f"template {template}: makes a {type(rendered).__name__}, not an object")
    return rendered
