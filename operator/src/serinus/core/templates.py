"""Rendering of the children's manifests from templates/, with every value JSON-encoded."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError, Undefined

_UNSAFE_IN_YAML: Final = re.compile(r"[^\x20-\x7e]")
_PACKAGED: Final = Path(__file__).parents[1] / "_templates"
_CHECKED_OUT: Final = Path(__file__).parents[4] / "templates"


class RenderError(Exception):
    """A template asks for something that it was not given, or does not make a Kubernetes object."""


def templates_directory(packaged: Path = _PACKAGED, checked_out: Path = _CHECKED_OUT) -> Path:
    """Where the templates lie: in the installed package, or in the checkout that an editable install points to."""
    return packaged if packaged.is_dir() else checked_out


def _as_json(value: object) -> object:
    """Encode an interpolated value as JSON, which is YAML too and quotes whatever could break out of its place.

    What YAML would fold or refuse even between quotes (line separators, DEL, all beyond ASCII) is escaped.
    """
    if isinstance(value, Undefined):
        return value
    return _UNSAFE_IN_YAML.sub(lambda match: f"\\U{ord(match[0]):08x}", json.dumps(value, ensure_ascii=False))


@cache
def _environment(directory: Path) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(directory),
        undefined=StrictUndefined,
        finalize=_as_json,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 - what is made is YAML; `finalize` encodes every value
    )
    # Jinja's own functions would stand in for values that were not given: one is called `namespace`.
    environment.globals.clear()
    return environment


def render(template: str, **values: object) -> dict[str, Any]:
    """Render `templates/<template>` to an object. Raises RenderError."""
    try:
        text = _environment(templates_directory()).get_template(template).render(**values)
        rendered = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    except (TemplateError, yaml.YAMLError) as error:
        raise RenderError(f"template {template}: {error}") from error
    if not isinstance(rendered, dict):
        raise RenderError(f"template {template}: makes a {type(rendered).__name__}, not an object")
    return rendered
