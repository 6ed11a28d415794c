"""The chart, rendered by helm and read again."""

import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from tests.cluster import binaries, commands

CHART: Final = Path(__file__).parents[2] / "charts" / "serinus"
NAMESPACE: Final = "serinus-system"
RELEASE: Final = "serinus"
KUBERNETES: Final = "1.35.0"

Object = dict[str, Any]
Values = Mapping[str, Any]
"""Values by dotted path."""


def helm(*arguments: str) -> str:
    """Run helm and return what it prints. Raises ClusterError, with helm's own words, when it fails."""
    # No configuration of the user's: repositories, plugins, kubeconfig.
    environment = {"PATH": os.defpath, "HOME": "/nonexistent", "KUBECONFIG": "/nonexistent"}
    return commands.run([str(binaries.built(binaries.HELM)), *arguments], env=environment)


def text(values: Values | None = None, *, release: str = RELEASE, namespace: str = NAMESPACE) -> str:
    """The rendered manifests as helm prints them."""
    return _template(release, namespace, json.dumps(values or {}))


def forget() -> None:
    """Render what was rendered before once more."""
    _template.cache_clear()


def rendered(values: Values | None = None, *, release: str = RELEASE, namespace: str = NAMESPACE) -> dict[str, Object]:
    """The rendered objects by `Kind name`, with the namespace put before the name where it is not the release's."""
    documents = yaml.load_all(text(values, release=release, namespace=namespace), Loader=_UniqueKeys)
    objects = [one for one in documents if one]
    found = {_key(one, namespace): one for one in objects}
    assert len(found) == len(objects), "two objects have the same name"
    return found


def config(values: Values | None = None) -> str:
    """The operator's settings as the chart hands them over."""
    return str(rendered(values)["ConfigMap serinus"]["data"]["config.yaml"])


@cache
def _template(release: str, namespace: str, values: str) -> str:
    flags = [
        part for path, value in json.loads(values).items() for part in ("--set-json", f"{path}={json.dumps(value)}")
    ]
    return helm("template", release, str(CHART), "--namespace", namespace, "--kube-version", KUBERNETES, *flags)


def _key(one: Object, namespace: str) -> str:
    metadata = one["metadata"]
    folder = "" if metadata.get("namespace", namespace) == namespace else f"{metadata['namespace']}/"
    return f"{one['kind']} {folder}{metadata['name']}"


class _UniqueKeys(yaml.SafeLoader):
    """Reads YAML, and refuses a mapping that has a key twice: what comes of it is up to the reader."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Read one mapping."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        assert not twice, f"twice in one mapping: {twice} at {node.start_mark}"
        return super().construct_mapping(node, deep=deep)
