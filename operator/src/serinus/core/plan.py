"""The writes that make the observed children the desired ones; none where they already are."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from serinus.api.units import parse_quantity
from serinus.core.desired import Desired
from serinus.core.observe import Children, is_owned, revision_label
from serinus.ports import Manifest

_QUANTITIES: Final = frozenset({"cpu", "memory", "sizeLimit"})


@dataclass(frozen=True, slots=True)
class Apply:
    """Create the object, or put it right, by server-side apply."""

    manifest: Manifest
    exists: bool


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
            actions.append(Apply(manifest, exists=current is not None))
    actions += _scaling(wanted, live)
    kept = {_key(manifest) for manifest in wanted.manifests}
    for key, manifest in sorted(live.items()):
        is_history = manifest["kind"] == "ControllerRevision" and revision_label(manifest) in wanted.kept_revisions
        if key not in kept and not is_history and "deletionTimestamp" not in manifest["metadata"]:
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
        return (
            isinstance(live, list)
            and len(wanted) == len(live)
            and all(matches(one, other, name) for one, other in zip(wanted, live, strict=True))
        )
    if name in _QUANTITIES and wanted is not None and live is not None:
        return parse_quantity(str(wanted)) == parse_quantity(str(live))
    return wanted == live


def _selects_the_same(wanted: Mapping[str, JsonValue], live: Mapping[str, JsonValue], name: str) -> bool:
    """A selector or a set of limits with one key more means something else."""
    return name not in ("selector", "matchLabels", "limits", "requests") or wanted.keys() == live.keys()


def _scaling(wanted: Desired, live: Mapping[tuple[str, str], Manifest]) -> list[Scale]:
    actions = []
    for manifest in wanted.manifests:
        name = manifest["metadata"]["name"]
        if manifest["kind"] != "Deployment" or name not in wanted.replicas:
            continue
        current = live.get(_key(manifest), {"spec": {}})["spec"].get("replicas", 1)
        if current != wanted.replicas[name]:
            actions.append(Scale(manifest["metadata"]["namespace"], name, wanted.replicas[name]))
    return actions


def _all(children: Children) -> Iterable[Manifest]:
    yield from children.deployments
    yield from children.controller_revisions
    yield from children.services
    yield from children.autoscalers
    yield from children.disruption_budgets


def _key(manifest: Manifest) -> tuple[str, str]:
    return manifest["kind"], manifest["metadata"]["name"]
