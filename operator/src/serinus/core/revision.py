"""A revision: what the pods of one version of the spec run, named by its hash."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final

from pydantic import JsonValue

from serinus.api.v1beta1 import InferenceServiceSpec

_HASH_LENGTH: Final = 10


@dataclass(frozen=True, slots=True)
class Revision:
    """A hash and the model version that it stands for."""

    name: str
    version: str
    template: str | None = None
    """Digest of the pod template, if the hash covers it."""


def revision_of(spec: InferenceServiceSpec, template: str | None = None) -> Revision:
    """The revision that `spec` asks for, of any pod template, or of that with the digest `template`.

    The hash covers what a pod runs: the model, its server and its resources; and the time of a restart that was asked
    for. Scaling, quota, access, audit and the canary policy are not in it, so that changing them starts no rollout.
    What was added to the API later is in it only where it is used, so that an upgrade starts none either.
    """
    runs: dict[str, Any] = {
        "model": spec.model.model_dump(mode="json", by_alias=True, exclude_none=True),
        "resources": spec.resources.model_dump(mode="json", by_alias=True, exclude_none=True),
    }
    if server := spec.server.model_dump(mode="json", by_alias=True, exclude_defaults=True):
        runs["server"] = server
    if asks_kubernetes(spec):
        runs["access"] = "KubernetesToken"
    if spec.restarted_at is not None:
        runs["restartedAt"] = spec.restarted_at
    if template is not None:
        runs["template"] = template
    return Revision(digest_of(runs), spec.model.version, template)


def is_of(revision: Revision, spec: InferenceServiceSpec) -> bool:
    """Whether `revision` runs what `spec` says, be it with another pod template."""
    return revision == revision_of(spec, revision.template)


def asks_kubernetes(spec: InferenceServiceSpec) -> bool:
    """Whether the pods ask the API server about the tokens of clients, for which they need one of their own."""
    return spec.access is not None and spec.access.mode == "KubernetesToken"


def digest_of(value: JsonValue) -> str:
    """A short hash of `value`, whatever the order of its keys."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:_HASH_LENGTH]
