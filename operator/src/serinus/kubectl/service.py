"""An InferenceService as the plugin reads it: what the operator wrote, and what the user asked for."""

from dataclasses import dataclass
from typing import Any, Self

from pydantic import ValidationError

from serinus.api.status import FailedRevision, InferenceServiceStatus
from serinus.api.v1beta1 import Canary, InferenceServiceSpec


@dataclass(frozen=True, slots=True)
class Service:
    """One InferenceService."""

    namespace: str
    name: str
    uid: str
    generation: int
    status: InferenceServiceStatus
    policy: Canary | None
    """The policy of the running rollout, else of the spec; None for a spec that cannot be read."""

    @classmethod
    def read(cls, manifest: dict[str, Any]) -> Self:
        """Read an object as the API server gives it."""
        metadata = manifest["metadata"]
        status = InferenceServiceStatus.model_validate(manifest.get("status", {}))
        return cls(
            namespace=metadata["namespace"],
            name=metadata["name"],
            uid=metadata["uid"],
            generation=metadata["generation"],
            status=status,
            policy=status.rollout.policy or _policy(manifest),
        )

    @property
    def target(self) -> str:
        """How a person names the service to kubectl."""
        return f"{self.name} -n {self.namespace}"

    @property
    def is_observed(self) -> bool:
        """Whether the operator has seen the newest spec."""
        return self.status.observed_generation == self.generation

    @property
    def rolled_back(self) -> FailedRevision | None:
        """The revision that the spec asks for and that was rolled back; None unless the service rests like that."""
        rollout = self.status.rollout
        newest_first = reversed(rollout.failed_revisions)
        return next((one for one in newest_first if one.message == rollout.message), None)


def _policy(manifest: dict[str, Any]) -> Canary | None:
    try:
        return InferenceServiceSpec.model_validate(manifest.get("spec")).canary
    except ValidationError:
        return None
