"""The revisions that a service has had: what each ran, and what became of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from serinus.core import names
from serinus.core.observe import is_owned, revision_label
from serinus.kubectl.service import Service

_VERSION_LABEL = "app.kubernetes.io/version"


@dataclass(frozen=True, slots=True)
class PastRevision:
    """One revision of a service."""

    number: int | None
    """Counts the revisions; the greatest is the newest. None for one that is not kept, since it was rolled back."""
    version: str
    revision: str
    created_at: datetime
    """When it was first deployed; of one that is not kept, when it was rolled back."""
    state: str
    """stable, canary, failed, or nothing."""
    reason: str
    """Why it failed, in one word; nothing if it did not."""


def history(service: Service, controller_revisions: Iterable[dict[str, Any]]) -> list[PastRevision]:
    """The service's revisions, oldest first, and after them those that were rolled back and are not kept."""
    own = [one for one in controller_revisions if is_owned(one, service.uid)]
    kept = [_past(service, one) for one in sorted(own, key=lambda one: int(one["revision"]))]
    names = {one.revision for one in kept}
    failed = [one for one in service.status.rollout.failed_revisions if one.revision not in names]
    return [*kept, *(PastRevision(None, one.version, one.revision, one.at, "failed", one.reason) for one in failed)]


def _past(service: Service, manifest: dict[str, Any]) -> PastRevision:
    revision = revision_label(manifest)
    state, reason = _state(service, revision)
    metadata = manifest["metadata"]
    return PastRevision(
        number=manifest["revision"],
        version=metadata["labels"].get(_VERSION_LABEL, ""),
        revision=revision,
        created_at=datetime.fromisoformat(metadata["creationTimestamp"]),
        state=state,
        reason=reason,
    )


def _state(service: Service, revision: str) -> tuple[str, str]:
    status = service.status
    if status.stable is not None and status.stable.revision == revision:
        return "stable", ""
    if status.canary is not None and status.canary.revision == revision:
        return "canary", ""
    failed = {one.revision: one.reason for one in status.rollout.failed_revisions}
    return ("failed", failed[revision]) if revision in failed else ("", "")


def service_selector(name: str) -> str:
    """The label selector of a service's objects."""
    return f"{names.SERVICE_LABEL}={name}"
