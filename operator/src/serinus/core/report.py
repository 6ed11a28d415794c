"""The status that is written: the state that the rollout resumes from, and what people read."""

from collections.abc import Iterable
from datetime import datetime

from serinus.api.status import InferenceServiceStatus, RevisionStatus
from serinus.core.conditions import Assertion, with_times
from serinus.core.observe import Observed
from serinus.core.revision import Revision
from serinus.core.state import State


def status_of(
    state: State,
    observed: Observed,
    assertions: Iterable[Assertion],
    before: InferenceServiceStatus,
    generation: int,
    url: str,
    now: datetime,
) -> InferenceServiceStatus:
    """The status for `state` and what is observed."""
    ready = sum(observed.ready(revision.name) for revision in state.deployed)
    wanted = sum(observed.replicas(revision.name) for revision in state.deployed)
    return InferenceServiceStatus(
        observed_generation=generation,
        stable=_revision_status(state.stable, observed),
        canary=_revision_status(state.canary, observed) if state.canary else None,
        replicas=f"{ready}/{wanted}",
        url=url,
        rollout=state.rollout,
        analysis=state.analysis,
        conditions=with_times(assertions, before.conditions, generation, now),
    )


def _revision_status(revision: Revision, observed: Observed) -> RevisionStatus:
    return RevisionStatus(
        revision=revision.name,
        version=revision.version,
        template=revision.template,
        replicas=observed.replicas(revision.name),
        ready_replicas=observed.ready(revision.name),
    )
