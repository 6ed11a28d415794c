"""Which commands make sense now, and for which revision they are."""

from dataclasses import dataclass
from typing import Final

from serinus.api.status import Phase
from serinus.core.command import PAUSED_BY_COMMAND, Verb
from serinus.kubectl.service import Service

MEANINGS: Final = {
    Verb.PROMOTE: "let the new version take over without further judgement, once its pods are ready",
    Verb.ABORT: "give all requests back to the stable version, and remember the new one as failed",
    Verb.RETRY: "try a version again that was rolled back, or judge anew after a bad environment",
    Verb.PAUSE: "hold the rollout at its weight; the deadline stands still, guards stay on",
    Verb.RESUME: "go on with a rollout that was paused by command, from the step it was at",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a command would do nothing now, and what to do instead."""

    message: str


def subject_of(service: Service, verb: Verb) -> str | Refusal:
    """The revision that the command is for, or why it makes no sense."""
    if service.status.stable is None:
        return Refusal(f"The operator has not seen {service.target} yet. Is it running, and does it watch there?")
    if not service.is_observed:
        return Refusal(f"The operator has not seen the newest spec of {service.target} yet. Try again in a moment.")
    canary, rollout = service.status.canary, service.status.rollout
    if rollout.phase is Phase.ROLLING_BACK:
        return Refusal("The new version is being rolled back just now. Try again in a moment.")
    if canary is None:
        return _without_canary(service, verb)
    objection = _objection(service, verb)
    return canary.revision if objection is None else Refusal(objection)


def sensible_verbs(service: Service) -> list[Verb]:
    """The commands that would do something now."""
    return [verb for verb in Verb if isinstance(subject_of(service, verb), str)]


def _without_canary(service: Service, verb: Verb) -> str | Refusal:
    rolled_back = service.rolled_back
    if service.status.rollout.phase is not Phase.ROLLED_BACK or rolled_back is None:
        return Refusal(f"No rollout of {service.target} is under way: there is nothing to {verb}.")
    if verb is Verb.RETRY:
        return rolled_back.revision
    return Refusal(
        f"Version {rolled_back.version} has been rolled back already ({rolled_back.reason}). To try it again: "
        f"kubectl serinus retry {service.target}"
    )


def _objection(service: Service, verb: Verb) -> str | None:
    """Why the command does nothing to the rollout that is under way."""
    rollout = service.status.rollout
    paused_by_command = rollout.phase is Phase.PAUSED and rollout.reason == PAUSED_BY_COMMAND
    promoting = rollout.phase is Phase.PROMOTING
    where = f"The rollout is {rollout.phase} ({rollout.reason})"
    match verb:
        case Verb.PROMOTE if promoting:
            return f"{where} already."
        case Verb.PAUSE if promoting:
            return f"{where}, which is not held half-way. To go back: kubectl serinus abort {service.target}"
        case Verb.PAUSE if paused_by_command:
            return f"{where} already. To go on: kubectl serinus resume {service.target}"
        case Verb.RESUME if not paused_by_command:
            return f"{where}, not paused by command. {_instead_of_resume(service)}"
        case Verb.RETRY if rollout.phase is not Phase.PAUSED or rollout.reason != "Environment":
            return f"{where}: a retry is for a version that was rolled back, or paused for a bad environment."
    return None


def _instead_of_resume(service: Service) -> str:
    if service.status.rollout.phase is not Phase.PAUSED:
        return "It goes on by itself."
    verbs = ", ".join(verb for verb in (Verb.PROMOTE, Verb.RETRY, Verb.ABORT) if _objection(service, verb) is None)
    return f"What decides it: {verbs}."
