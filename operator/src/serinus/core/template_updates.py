"""Which revision is asked for, where a changed pod template may ask for another one as a changed spec does.

Templates are compared by what they say, not by the names of revisions: so that neither turning these updates on or off,
nor an operator that goes back to a former template, rolls out what is deployed already.
"""

from serinus.api.v1beta1 import InferenceServiceSpec
from serinus.config import ServerSettings
from serinus.core.identity import Identity
from serinus.core.observe import Observed
from serinus.core.pinning import differences
from serinus.core.pod_template import pod_template
from serinus.core.revision import Revision, digest_of, is_of, revision_of
from serinus.core.state import State


def asked_revision(
    identity: Identity, spec: InferenceServiceSpec, state: State | None, observed: Observed, server: ServerSettings
) -> Revision:
    """The revision that `spec` and the platform's settings ask for; `state` is None before the first visit.

    A template that changes during a rollout waits for its end, unless it is the stable revision's again.
    """
    if state is None:
        updated = _with_present_template(identity, spec, server)
        # A service that has lost its status, as in a restored cluster, goes on with the pods that it has.
        return updated if updated.name in observed.pinned else revision_of(spec)
    canary = state.canary if state.canary is not None and is_of(state.canary, spec) else None
    if not is_of(state.stable, spec):
        return canary or next(iter(_known(state, spec)), revision_of(spec))
    if server.template_updates == "Pinned":
        return canary or state.stable
    if canary is not None:
        return state.stable if _is_kept_as_present(identity, spec, state.stable, observed, server) else canary
    if not template_changes(identity, spec, state.stable, observed, server):
        return state.stable
    kept = (one for one in _known(state, spec) if _is_kept_as_present(identity, spec, one, observed, server))
    return next(kept, None) or _with_present_template(identity, spec, server)


def deployed_revision(spec: InferenceServiceSpec, state: State, asked: Revision) -> Revision | None:
    """The deployed revision that runs `spec`: the one that is asked for, else the stable one with another template."""
    if asked in (state.stable, state.canary):
        return asked
    return state.stable if is_of(state.stable, spec) else None


def template_changes(
    identity: Identity, spec: InferenceServiceSpec, revision: Revision, observed: Observed, server: ServerSettings
) -> tuple[str, ...]:
    """What the template that `revision` of `spec` is pinned to lacks of the present one; nothing if it has none yet."""
    pinned = observed.pinned.get(revision.name)
    return differences(pinned, pod_template(identity, spec, revision, server)) if pinned is not None else ()


def _with_present_template(identity: Identity, spec: InferenceServiceSpec, server: ServerSettings) -> Revision:
    """The revision whose name covers the template as it would be rendered now."""
    # The template holds its revision's name, which is what is sought.
    nameless = Revision("", spec.model.version)
    return revision_of(spec, digest_of(pod_template(identity, spec, nameless, server)))


def _known(state: State, spec: InferenceServiceSpec) -> list[Revision]:
    """Revisions of `spec` that have served before or were rolled back, newest first."""
    times = [(one.until, Revision(one.revision, one.version, one.template)) for one in state.rollout.former_revisions]
    times += [(one.at, Revision(one.revision, one.version, one.template)) for one in state.rollout.failed_revisions]
    newest_first = sorted(times, key=lambda entry: entry[0], reverse=True)
    return [revision for _, revision in newest_first if is_of(revision, spec)]


def _is_kept_as_present(
    identity: Identity, spec: InferenceServiceSpec, revision: Revision, observed: Observed, server: ServerSettings
) -> bool:
    """Whether `revision` is kept with the very template that would be rendered now."""
    is_kept = revision.name in observed.pinned
    return is_kept and not template_changes(identity, spec, revision, observed, server)
