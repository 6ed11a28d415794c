"""Rendering of the children's manifests from templates/, with every value JSON-encoded, or put in after parsing.

A value that is an object or a list, such as a whole pod template, does not pass through YAML at all: where the template
names it, a tag is written that stands for it. No other value can make a tag, since each is quoted.
"""

import json
import re
from collections.abc import Mapping
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError, Undefined

_UNSAFE_IN_YAML: Final = re.compile(r"[^\x20-\x7e]")
_PACKAGED: Final = Path(__file__).parents[1] / "_templates"
_CHECKED_OUT: Final = Path(__file__).parents[4] / "templates"


_TAG: Final = "!given"

_whole: ContextVar[Mapping[int, object]] = ContextVar("whole", default={})  # noqa: B039 - nobody writes to it
"""The values of the template at hand that are put in as they are, by their id."""


class RenderError(Exception):
    """A template asks for something that it was not given, or does not make a Kubernetes object."""


def templates_directory(packaged: Path = _PACKAGED, checked_out: Path = _CHECKED_OUT) -> Path:
    """Where the templates lie: in the installed package, or in the checkout that an editable install points to."""
    return packaged if packaged.is_dir() else checked_out


def yaml_of(value: object) -> str:
    """JSON, which is YAML too and quotes whatever could break out of its place.

    What YAML would fold or refuse even between quotes (line separators, DEL, all beyond ASCII) is escaped.
    """
    return _UNSAFE_IN_YAML.sub(lambda match: f"\\U{ord(match[0]):08x}", json.dumps(value, ensure_ascii=False))


def _finalize(value: object) -> object:
    """What a template writes for a value."""
    if isinstance(value, Undefined):
        return value
    if id(value) in _whole.get():
        return f"{_TAG} {id(value)}"
    return yaml_of(value)


@cache
def _environment(directory: Path) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(directory),
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 - what is made is YAML; `finalize` encodes every value
    )
    # Jinja's own functions would stand in for values that were not given: one is called `namespace`.
    environment.globals.clear()
    return environment


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The safe loader, which also knows the tag of a given value."""


def _given(_: _Loader, node: yaml.ScalarNode) -> object:
    return _whole.get()[int(node.value)]


_Loader.add_constructor(_TAG, _given)


def render(template: str, **values: object) -> dict[str, Any]:
    """Render `templates/<template>` to an object, which shares what `values` holds. Raises RenderError."""
    token = _whole.set({id(value): value for value in values.values() if isinstance(value, dict | list)})
    try:
        text = _environment(templates_directory()).get_template(template).render(**values)
        rendered = yaml.load(text, Loader=_Loader)  # noqa: S506 - it is a safe one
    except (TemplateError, yaml.YAMLError) as error:
        raise RenderError(f"template {template}: {error}") from error
    finally:
        _whole.reset(token)
    if not isinstance(rendered, dict):
        raise RenderError(f"template {template}: makes a {type(rendered).__name__}, not an object")
    return rendered
