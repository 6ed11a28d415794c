"""The writes that make the observed children the desired ones; none where they already are."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final

from pydantic import JsonValue

from serinus.core.desired import Desired
from serinus.core.observe import Children, is_owned, revision_label
from serinus.ports import Manifest

_QUANTITIES: Final = frozenset({"cpu", "memory", "sizeLimit"})

_QUANTITY: Final = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?[0-9]{1,3}))?")
_DECIMAL_EXPONENTS: Final = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY_PREFIXES: Final = "KMGTPE"

_MERGED_LISTS: Final = frozenset(
    {"containers", "env", "imagePullSecrets", "initContainers", "ownerReferences", "volumeMounts", "volumes"}
)
"""Lists that server-side apply merges by key. It takes nobody else's entries out, so they are let be."""


@dataclass(frozen=True, slots=True)
class Apply:
    """Create the object, or put it right, by server-side apply."""

    manifest: Manifest
    exists: bool
    replicas: int | None = None
    """What a Deployment that does not exist begins with."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Set a Deployment's replicas."""

    namespace: str
    name: str
    replicas: int


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete the object, and only this very one."""

    manifest: Manifest


Action = Apply | Scale | Delete


def plan(owner_uid: str, wanted: Desired, children: Children) -> tuple[Action, ...]:
    """The writes, in order: what is wanted first, what is no longer wanted last."""
    live = {_key(manifest): manifest for manifest in _all(children) if is_owned(manifest, owner_uid)}
    actions: list[Action] = []
    for manifest in wanted.manifests:
        current = live.get(_key(manifest))
        if current is None or not matches(manifest, current):
            replicas = None if current else _first_replicas(manifest, wanted)
            actions.append(Apply(manifest, exists=current is not None, replicas=replicas))
    actions += _scaling(wanted, live)
    kept = {_key(manifest) for manifest in wanted.manifests}
    for key, manifest in sorted(live.items()):
        if key not in kept and not _is_kept(manifest, wanted) and "deletionTimestamp" not in manifest["metadata"]:
            actions.append(Delete(manifest))
    return tuple(actions)


def matches(wanted: JsonValue, live: JsonValue, name: str = "") -> bool:
    """Whether all that `wanted` says is so in `live`; what else `live` has is somebody else's."""
    if isinstance(wanted, Mapping):
        if not isinstance(live, Mapping):
            return not wanted and live is None
        return _selects_the_same(wanted, live, name) and all(
            matches(value, live.get(key), key) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return _list_matches(wanted, live, name)
    if name in _QUANTITIES and wanted is not None and live is not None:
        return wanted == live or _amount(str(wanted)) == _amount(str(live))
    return wanted == live


def _list_matches(wanted: list[JsonValue], live: JsonValue, name: str) -> bool:
    if not isinstance(live, list):
        return not wanted and live is None
    if name in _MERGED_LISTS:
        by_name = {entry["name"]: entry for entry in live if isinstance(entry, Mapping) and "name" in entry}
        return all(isinstance(entry, Mapping) and matches(entry, by_name.get(entry["name"])) for entry in wanted)
    return len(wanted) == len(live) and all(matches(one, other, name) for one, other in zip(wanted, live, strict=True))


def _selects_the_same(wanted: Mapping[str, JsonValue], live: Mapping[str, JsonValue], name: str) -> bool:
    """A selector with one key more means something else, and is applied as a whole."""
    return name not in ("selector", "matchLabels") or wanted.keys() == live.keys()


def _amount(quantity: str) -> Fraction | str:
    """A Kubernetes quantity in thousandths, rounded up as the API server does; the text itself if it is none."""
    match = _QUANTITY.fullmatch(quantity)
    if match is None:
        return quantity
    number, suffix, exponent = match.groups()
    scale = Fraction(10) ** int(exponent or _DECIMAL_EXPONENTS.get(suffix, 0))
    if suffix is not None and suffix.endswith("i"):
        scale = Fraction(1024) ** (_BINARY_PREFIXES.index(suffix[0]) + 1)
    return Fraction(math.ceil(Fraction(Decimal(number)) * scale * 1000))


def _is_kept(manifest: Manifest, wanted: Desired) -> bool:
    """Whether the object stays although it is not applied now: history, and pods that a revision in use has."""
    if manifest["kind"] == "ControllerRevision":
        return revision_label(manifest) in wanted.kept_revisions
    if manifest["kind"] == "Service":
        return revision_label(manifest) in wanted.routed_revisions
    return manifest["kind"] == "Deployment" and manifest["metadata"]["name"] in wanted.replicas


def _first_replicas(manifest: Manifest, wanted: Desired) -> int | None:
    return wanted.replicas.get(manifest["metadata"]["name"]) if manifest["kind"] == "Deployment" else None


def _scaling(wanted: Desired, live: Mapping[tuple[str, str], Manifest]) -> list[Scale]:
    actions = []
    for manifest in wanted.manifests:
        name = manifest["metadata"]["name"]
        if manifest["kind"] != "Deployment" or name not in wanted.replicas:
            continue
        current = live.get(_key(manifest))
        if current is not None and current["spec"].get("replicas", 1) != wanted.replicas[name]:
            actions.append(Scale(manifest["metadata"]["namespace"], name, wanted.replicas[name]))
    return actions


def _all(children: Children) -> Iterable[Manifest]:
    yield from children.deployments
    yield from children.controller_revisions
    yield from children.services
    yield from children.routes
    yield from children.autoscalers
    yield from children.disruption_budgets


def _key(manifest: Manifest) -> tuple[str, str]:
    return manifest["kind"], manifest["metadata"]["name"]
