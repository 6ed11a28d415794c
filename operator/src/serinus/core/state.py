"""Where a service stands between its revisions: read from status, decided upon, written to status."""

from dataclasses import dataclass

from serinus.api.status import AnalysisStatus, InferenceServiceStatus, RevisionStatus, Rollout
from serinus.core.revision import Revision


@dataclass(frozen=True, slots=True)
class State:
    """Which revisions there are, and how far the rollout between them has come."""

    stable: Revision
    canary: Revision | None
    rollout: Rollout
    analysis: AnalysisStatus | None = None

    @property
    def deployed(self) -> tuple[Revision, ...]:
        """The revisions that have pods."""
        return (self.stable,) if self.canary is None else (self.stable, self.canary)


def state_of(status: InferenceServiceStatus) -> State | None:
    """The state that `status` keeps; None before the first visit."""
    if status.stable is None:
        return None
    return State(
        stable=_revision(status.stable),
        canary=_revision(status.canary) if status.canary else None,
        rollout=status.rollout,
        analysis=status.analysis,
    )


def _revision(status: RevisionStatus) -> Revision:
    return Revision(status.revision, status.version, status.template)
