"""The writes that make the observed children the desired ones; none where they already are."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from serinus.core.desired import Desired
from serinus.core.matching import matches
from serinus.core.observe import Children, is_owned, revision_label
from serinus.ports import Manifest


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
    yield from children.config_maps
    yield from children.deployments
    yield from children.controller_revisions
    yield from children.services
    yield from children.routes
    yield from children.autoscalers
    yield from children.disruption_budgets


def _key(manifest: Manifest) -> tuple[str, str]:
    return manifest["kind"], manifest["metadata"]["name"]
