"""The rollout's state machine: one pure step from what is known to what is intended next.

The caller writes the new state to status before it makes the world match, and calls again when something changed or
the time has come. A step that is taken twice from the same situation says the same twice.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from serinus.api.status import AnalysisStatus, FailedRevision, FormerRevision, Phase, Rollout, Stage, Verdict, Weight
from serinus.api.units import parse_duration
from serinus.core import analysis as judgement
from serinus.core.command import PAUSED_BY_COMMAND, Command, InvalidCommand, Verb, command_line
from serinus.core.desired import stable_replicas
from serinus.core.revision import Revision
from serinus.core.schedule import waits_for_a_person
from serinus.core.situation import Decision, Situation, Transition
from serinus.core.state import State
from serinus.core.traffic import TrafficMode, applied_weight, is_strict, traffic_mode, wanted_weight
from serinus.ports import MetricsSample, MetricsUnavailableError, RevisionSample

METRICS_PATIENCE: Final = timedelta(minutes=10)
"""How long a rollout holds its weight without metrics before it is paused."""

TRAFFIC_PATIENCE: Final = 5
"""How many times its duration a step waits for enough requests."""

_LONGEST_CAUSE: Final = 1500
"""Characters of a cause that a message repeats, so that what to do about it still fits behind."""

_NO_REQUESTS: Final = RevisionSample(requests=0, errors=0, timed=0)


def first_state(asked: Revision, now: datetime) -> State:
    """The state of a service that is seen for the first time: there is nothing to compare its revision with."""
    return State(
        stable=asked,
        canary=None,
        rollout=Rollout(
            phase=Phase.INITIALIZING,
            reason="FirstDeployment",
            message=f"Version {asked.version} is being deployed; it serves as soon as it is ready.",
            stage_started_at=now,
        ),
    )


def step(situation: Situation) -> Decision:
    """Decide what is intended next."""
    situation, heard = _hear_command(situation)
    if situation.state.canary is None:
        decision = _step_without_canary(situation)
    else:
        decision = _step_with_canary(situation, situation.state.canary)
    return Decision(_with_weight(situation, decision.state), (*heard, *decision.transitions))


def _hear_command(situation: Situation) -> tuple[Situation, tuple[Transition, ...]]:
    """Note that a command was heard, so that it is carried out once; drop one that is done or for another revision.

    One that comes during a roll-back is heard after it: till then a retry could not be obeyed.
    """
    command, state = situation.command, situation.state
    rolling_back = state.rollout.phase is Phase.ROLLING_BACK
    if command is None or command.id == state.rollout.last_command or rolling_back:
        return replace(situation, command=None), ()
    heard = replace(state, rollout=state.rollout.model_copy(update={"last_command": command.id}))
    if isinstance(command, InvalidCommand):
        told = Transition("Warning", "InvalidCommand", command.message)
        return replace(situation, state=heard, command=None), (told,)
    subject = state.canary or situation.asked
    if command.revision != subject.name:
        message = f"Command {command.verb} is for revision {command.revision}, but the one at hand is {subject.name}."
        return replace(situation, state=heard, command=None), (Transition("Warning", "StaleCommand", message),)
    return replace(situation, state=heard), ()


def _step_without_canary(situation: Situation) -> Decision:
    state, asked = situation.state, situation.asked
    if state.rollout.phase is Phase.INITIALIZING:
        return _initialize(situation)
    if asked == state.stable:
        if state.rollout.phase is Phase.STABLE:
            return Decision(state)
        message = f"The spec asks for version {asked.version}, which serves."
        return Decision(_moved(situation, state, Phase.STABLE, None, "Stable", message))
    retry = isinstance(situation.command, Command) and situation.command.verb is Verb.RETRY
    failed = _failure_of(state, asked)
    if failed is not None and not retry:
        return _stay_rolled_back(situation, failed)
    return _start_canary(situation)


def _initialize(situation: Situation) -> Decision:
    state, asked, observed = situation.state, situation.asked, situation.observed
    if asked != state.stable:
        # A version that serves with fewer pods than wanted is not taken away before the next one serves.
        return _start_canary(situation) if observed.ready(state.stable.name) else _begin_anew(situation)
    wanted = stable_replicas(situation.spec, state, observed)
    if observed.ready(asked.name) < wanted:
        return Decision(state)
    message = f"Version {asked.version} serves."
    moved = _moved(situation, state, Phase.STABLE, None, "Stable", message)
    return Decision(moved, (Transition("Normal", "Deployed", message),))


def _begin_anew(situation: Situation) -> Decision:
    first = first_state(situation.asked, situation.now)
    heard = first.rollout.model_copy(update={"last_command": situation.state.rollout.last_command})
    return Decision(replace(first, rollout=heard))


def _stay_rolled_back(situation: Situation, failed: FailedRevision) -> Decision:
    state = situation.state
    rollout = state.rollout
    if rollout.phase is Phase.ROLLED_BACK and (rollout.reason, rollout.message) == (failed.reason, failed.message):
        return Decision(state)
    return Decision(_moved(situation, state, Phase.ROLLED_BACK, None, failed.reason, failed.message))


def _start_canary(situation: Situation) -> Decision:
    state, asked, policy = situation.state, situation.asked, situation.spec.canary
    before = situation.observed.replicas(state.stable.name)
    rollout = Rollout(
        baseline_replicas=max(situation.spec.autoscaling.min_replicas, before),
        policy=policy,
        started_at=situation.now,
        deadline=situation.now + parse_duration(policy.deadline),
        failed_revisions=tuple(one for one in state.rollout.failed_revisions if one.revision != asked.name),
        former_revisions=state.rollout.former_revisions,
        last_command=state.rollout.last_command,
    )
    started = State(stable=state.stable, canary=asked, rollout=rollout, analysis=AnalysisStatus())
    if _is_known_to_be_good(situation):
        message = f"Version {asked.version} has served before, within the rollback window, and is not judged again."
        moved = _moved(situation, started, Phase.PROMOTING, Stage.SCALE_UP, "KnownToBeGood", message)
        return Decision(moved, (Transition("Normal", "Promoting", message),))
    message = _start_message(asked, state.stable)
    advice = judgement.min_requests_advice(policy.analysis)
    message = f"{message} {advice}." if advice else message
    moved = _moved(situation, started, Phase.CANARY_STARTING, Stage.SCALING, "NewRevision", message)
    return Decision(moved, (Transition("Normal", "CanaryStarted", message),))


def _is_known_to_be_good(situation: Situation) -> bool:
    """Whether the spec goes back to a revision that the policy's rollback window holds."""
    window, former = situation.spec.canary.rollback_window, situation.state.rollout.former_revisions
    return window is not None and situation.asked.name in {one.revision for one in former[-window.revisions :]}


def _step_with_canary(situation: Situation, canary: Revision) -> Decision:
    if situation.state.rollout.phase is Phase.ROLLING_BACK:
        return _finish_roll_back(situation)
    decision = _leave_for_another_spec(situation, canary)
    decision = decision or _obey_command(situation, canary)
    decision = decision or _guard(situation, canary)
    if decision is not None:
        return decision
    if situation.state.rollout.phase is Phase.PROMOTING:
        return _promote(situation, canary)
    return _progress(situation, canary)


def _leave_for_another_spec(situation: Situation, canary: Revision) -> Decision | None:
    state, asked = situation.state, situation.asked
    if asked == canary:
        return None
    if asked == state.stable:
        message = f"The spec asks for version {asked.version} again; {_named(situation, canary)} is taken out."
        return _roll_back(situation, canary, "Reverted", message, failed=False)
    message = f"The spec asks for version {asked.version} now; {_named(situation, canary)} is taken out first."
    return _roll_back(situation, canary, "Superseded", message, failed=False)


def _obey_command(situation: Situation, canary: Revision) -> Decision | None:
    state, command = situation.state, situation.command
    verb = command.verb if isinstance(command, Command) else None
    if verb is Verb.ABORT:
        return _roll_back(situation, canary, "Aborted", "The rollout was aborted by command.")
    if verb is Verb.PROMOTE and state.rollout.phase is not Phase.PROMOTING:
        return _begin_promotion(situation, canary, "PromotedByCommand", "Promotion was asked for by command.")
    if verb is Verb.RETRY and state.rollout.reason == "Environment" and state.analysis is not None:
        afresh = replace(state, analysis=judgement.drop_evidence(state.analysis))
        message = f"The judgement of {_named(situation, canary)} begins anew, by command."
        moved = _moved(situation, afresh, Phase.PROGRESSING, Stage.ANALYZING, "Retried", message)
        return Decision(moved, (Transition("Normal", "RolloutResumed", message),))
    is_paused = state.rollout.reason == PAUSED_BY_COMMAND
    if verb is Verb.PAUSE and state.rollout.phase is not Phase.PROMOTING and not is_paused:
        return _pause_by_command(situation, canary)
    if verb is Verb.RESUME and is_paused:
        return _resume(situation, canary)
    return None


def _pause_by_command(situation: Situation, canary: Revision) -> Decision:
    """Hold the rollout where it is. It is judged and guarded as before, only its clocks stand still."""
    command = command_line(situation.service, Verb.RESUME, canary.name, situation.now)
    message = (
        f"The rollout of {_named(situation, canary)} was paused by command and holds its weight. To go on, or with "
        f"promote or abort in place of resume: {command}"
    )
    moved = _moved(situation, situation.state, Phase.PAUSED, None, PAUSED_BY_COMMAND, message)
    return Decision(moved, (Transition("Normal", "RolloutPaused", message),))


def _resume(situation: Situation, canary: Revision) -> Decision:
    """Go on with the step that was paused: its time begins anew, its pods and its weight are looked at again."""
    state = situation.state
    message = f"The rollout of {_named(situation, canary)} goes on by command."
    phase = Phase.PROGRESSING if state.rollout.weight.desired else Phase.CANARY_STARTING
    moved = _moved(situation, state, phase, Stage.SCALING, "Resumed", message)
    return Decision(moved, (Transition("Normal", "RolloutResumed", message),))


def _guard(situation: Situation, canary: Revision) -> Decision | None:
    """Look at what needs no metrics: broken pods and the deadline."""
    state, observed = situation.state, situation.observed
    failure = observed.failures.get(canary.name)
    if failure is not None:
        return _roll_back(situation, canary, failure.reason, str(failure))
    deadline = state.rollout.deadline
    if deadline is not None and situation.now >= deadline and not waits_for_a_person(state.rollout):
        message = f"The rollout was not over within {situation.policy.deadline}: {state.rollout.message} "
        message += _pods_told(situation, canary)
        return _roll_back(situation, canary, "DeadlineExceeded", message)
    stable_is_broken = state.stable.name in observed.failures and observed.ready(state.stable.name) == 0
    if stable_is_broken and observed.ready(canary.name) and state.rollout.phase is not Phase.PROMOTING:
        message = f"Version {state.stable.version} has no ready pod, and {_named(situation, canary)} has."
        return _begin_promotion(situation, canary, "StableUnhealthy", message)
    return None


def _pods_told(situation: Situation, canary: Revision) -> str:
    """How many of the pods that a step waits for are ready, and what keeps the others."""
    observed, stable = situation.observed, situation.state.stable
    told = [f"{observed.ready(canary.name)} of {observed.replicas(canary.name)} pods are ready."]
    awaited = [canary.name]
    if is_strict(situation.policy, situation.mode):
        pods = f"{observed.ready(stable.name)} of {observed.replicas(stable.name)}"
        told.append(f"Of version {stable.version}, {pods} are, which the weight takes too.")
        awaited.append(stable.name)
    told += [str(observed.hindrances[name]) for name in awaited if name in observed.hindrances]
    return " ".join(told)


def _progress(situation: Situation, canary: Revision) -> Decision:
    """Scale for the step, give it its requests, then judge; the step's clock starts when both are done."""
    state = situation.state
    weight = situation.current_step.weight_percent
    if state.rollout.stage is Stage.SCALING:
        if not situation.has_its_pods(canary):
            return Decision(state)
        message = f"{_begin(_named(situation, canary))} is ready for {weight}% of the requests and begins to get them."
        return Decision(_moved(situation, state, Phase.PROGRESSING, Stage.SHIFT_TRAFFIC, "ShiftingTraffic", message))
    if state.rollout.stage is Stage.SHIFT_TRAFFIC:
        if not situation.is_shifted:
            return Decision(_with_refusal(situation))
        analysis = judgement.begin_step(state.analysis or AnalysisStatus())
        number, steps = state.rollout.step_index + 1, len(situation.policy.steps)
        message = f"Step {number} of {steps}: {_named(situation, canary)} gets {weight}% of the requests and is judged."
        judged = replace(state, analysis=analysis)
        moved = _moved(situation, judged, Phase.PROGRESSING, Stage.ANALYZING, "Analyzing", message)
        return Decision(moved, (Transition("Normal", "StepStarted", message),))
    return _judge(_looked(situation, canary), canary)


def _with_refusal(situation: Situation) -> State:
    """The state, with why the Gateway does not take the route, where it says so."""
    state, route = situation.state, situation.observed.route
    if situation.mode is TrafficMode.REPLICAS or route is None or not route.refusal:
        return state
    message = f"The Gateway does not accept the HTTPRoute as it is now: {_shortened(route.refusal)}"
    return replace(state, rollout=state.rollout.model_copy(update={"reason": "RouteNotAccepted", "message": message}))


def _looked(situation: Situation, canary: Revision) -> Situation:
    """Add what the look saw to the evidence, or note that there was nothing to see."""
    state, look = situation.state, situation.look
    if isinstance(look, MetricsUnavailableError):
        missing_since = state.rollout.metrics_missing_since or situation.now
        rollout = state.rollout.model_copy(update={"metrics_missing_since": missing_since})
        return replace(situation, state=replace(state, rollout=rollout))
    if look is None:
        return situation
    new = look.revisions.get(canary.name, _NO_REQUESTS)
    old = look.revisions.get(state.stable.name, _NO_REQUESTS)
    analysis = judgement.tick(
        situation.policy.analysis,
        state.analysis or AnalysisStatus(),
        new,
        old,
        look.until,
        version=_named(situation, canary),
    )
    analysis = analysis.model_copy(update={"query": look.query[:2048]})
    requests = new.requests + old.requests
    measured = round(100 * new.requests / requests) if requests else None
    weight = state.rollout.weight.model_copy(update={"measured": measured})
    rollout = state.rollout.model_copy(update={"metrics_missing_since": None, "weight": weight})
    return replace(situation, state=replace(state, rollout=rollout, analysis=analysis))


def _judge(situation: Situation, canary: Revision) -> Decision:
    """Roll back, pause, wait, or go on, by the evidence so far."""
    state, policy = situation.state, situation.policy
    analysis = state.analysis or AnalysisStatus()
    if analysis.verdict is Verdict.FAIL:
        return _roll_back_on_evidence(situation, canary, analysis)
    if state.rollout.phase is Phase.PAUSED:
        return _wait_paused(situation, canary, analysis)
    if judgement.environment_is_bad(policy.analysis, analysis):
        message = (
            f"Version {state.stable.version} breaks the limits too, so it is not the new version's doing: "
            f"{analysis.message}"
        )
        return _pause(situation, canary, "Environment", message)
    if state.rollout.metrics_missing_since is not None:
        return _hold_without_metrics(situation, canary, state.rollout.metrics_missing_since)
    duration = parse_duration(situation.current_step.duration)
    if situation.elapsed() >= duration and analysis.verdict is Verdict.PASS:
        return _pass_step(situation, canary)
    # A step that is shorter than the time between two looks would be over before its requests were counted.
    patience = TRAFFIC_PATIENCE * max(duration, parse_duration(policy.analysis.interval))
    if situation.elapsed() >= patience:
        return _end_undecided_step(situation, canary, analysis)
    return Decision(state)


def _hold_without_metrics(situation: Situation, canary: Revision, missing_since: datetime) -> Decision:
    """Hold the weight, whatever the verdict was before: what happens now is not seen."""
    look = situation.look
    if not isinstance(look, MetricsUnavailableError) or situation.now - missing_since < METRICS_PATIENCE:
        return Decision(situation.state)
    message = f"There are no metrics to judge by since {missing_since:%H:%M:%S} UTC: {_shortened(str(look))}"
    return _pause(situation, canary, "MetricsUnavailable", message)


def _roll_back_on_evidence(situation: Situation, canary: Revision, analysis: AnalysisStatus) -> Decision:
    failed = [check.check for check in analysis.checks if check.verdict is Verdict.FAIL]
    reason = "HighErrorRate" if judgement.ERRORS in failed else "HighLatency"
    return _roll_back(situation, canary, reason, analysis.message)


def _wait_paused(situation: Situation, canary: Revision, analysis: AnalysisStatus) -> Decision:
    """Go on by itself when what the pause is for has passed."""
    state = situation.state
    if state.rollout.reason == "MetricsUnavailable" and isinstance(situation.look, MetricsSample):
        message = f"The metrics are back; {_named(situation, canary)} is judged again."
        moved = _moved(situation, state, Phase.PROGRESSING, Stage.ANALYZING, "MetricsBack", message)
        return Decision(moved, (Transition("Normal", "RolloutResumed", message),))
    if state.rollout.reason in ("InsufficientTraffic", "Inconclusive") and analysis.verdict is Verdict.PASS:
        return _pass_step(situation, canary)
    return Decision(state)


def _end_undecided_step(situation: Situation, canary: Revision, analysis: AnalysisStatus) -> Decision:
    """Do what the policy says when there were too few requests; with enough of them, a person decides."""
    policy = situation.policy.analysis
    if analysis.step_requests >= policy.min_requests:
        message = f"{_begin(_named(situation, canary))} can neither be passed nor rolled back. {analysis.message}."
        return _pause(situation, canary, "Inconclusive", message)
    seen = f"{analysis.step_requests} of {policy.min_requests} requests in {situation.elapsed().total_seconds():.0f} s"
    message = f"{_begin(_named(situation, canary))} has seen too few requests to be judged: {seen}."
    if policy.on_insufficient_traffic == "Rollback":
        return _roll_back(situation, canary, "InsufficientTraffic", message)
    if policy.on_insufficient_traffic == "Promote":
        return _pass_step(situation, canary)
    return _pause(situation, canary, "InsufficientTraffic", message)


def _pass_step(situation: Situation, canary: Revision) -> Decision:
    state, policy = situation.state, situation.policy
    following = state.rollout.step_index + 1
    evidence = state.analysis.message if state.analysis else ""
    if following < len(policy.steps):
        weight = policy.steps[following].weight_percent
        message = f"Step {following} passed; {_named(situation, canary)} is scaled for {weight}% of the requests."
        rollout = state.rollout.model_copy(update={"step_index": following})
        stepped = replace(state, rollout=rollout)
        moved = _moved(situation, stepped, Phase.PROGRESSING, Stage.SCALING, "StepPassed", message)
        return Decision(moved, (Transition("Normal", "StepPassed", f"{message} {evidence}"),))
    if policy.promotion == "Manual":
        return _pause(situation, canary, "ManualPromotion", f"{_begin(_named(situation, canary))} passed all steps.")
    message = f"{_begin(_named(situation, canary))} passed all steps. {evidence}"
    return _begin_promotion(situation, canary, "AllStepsPassed", message)


def _pause(situation: Situation, canary: Revision, reason: str, why: str) -> Decision:
    others = "abort, or retry to judge anew," if reason == "Environment" else "abort"
    command = command_line(situation.service, Verb.PROMOTE, canary.name, situation.now)
    message = f"{_sentence(why)} The rollout waits. To promote it, or with {others} in place of promote: {command}"
    moved = _moved(situation, situation.state, Phase.PAUSED, None, reason, message)
    return Decision(moved, (Transition("Warning", "RolloutPaused", message),))


def _begin_promotion(situation: Situation, canary: Revision, reason: str, why: str) -> Decision:
    moved = _moved(situation, situation.state, Phase.PROMOTING, Stage.SCALE_UP, reason, why)
    return Decision(
        moved, (Transition("Normal", "Promoting", f"{_begin(_named(situation, canary))} is promoted: {why}"),)
    )


def _promote(situation: Situation, canary: Revision) -> Decision:
    """Scale up, give it all requests, watch it bear them, then let go of the old revision."""
    state, observed = situation.state, situation.observed
    rollout = state.rollout
    ready = observed.ready(canary.name)
    all_are_ready = ready >= situation.wanted_canary_replicas
    if rollout.stage is Stage.SCALE_UP:
        return Decision(_at_stage(situation, state, Stage.SHIFT_TRAFFIC) if all_are_ready else state)
    if ready == 0 and observed.ready(state.stable.name):
        return _roll_back(situation, canary, "NotReady", "It was to get all requests, and none of its pods is ready.")
    if rollout.stage is Stage.SHIFT_TRAFFIC:
        return Decision(_at_stage(situation, state, Stage.BAKE) if situation.is_shifted else _with_refusal(situation))
    situation = _looked(situation, canary)
    analysis = situation.state.analysis
    judged = rollout.reason != "PromotedByCommand"
    if judged and analysis is not None and analysis.verdict is Verdict.FAIL:
        return _roll_back_on_evidence(situation, canary, analysis)
    if situation.elapsed() < parse_duration(situation.policy.analysis.interval) or not all_are_ready:
        return Decision(situation.state)
    return _finish_promotion(situation, canary)


def _finish_promotion(situation: Situation, canary: Revision) -> Decision:
    state = situation.state
    message = f"{_begin(_named(situation, canary))} was promoted and serves all requests."
    rollout = _rollout_over(state.rollout).model_copy(update={"former_revisions": _former_revisions(situation, canary)})
    promoted = State(stable=canary, canary=None, rollout=rollout, analysis=state.analysis)
    moved = _moved(situation, promoted, Phase.STABLE, None, "Promoted", message)
    return Decision(moved, (Transition("Normal", "Promoted", message),))


def _former_revisions(situation: Situation, promoted: Revision) -> tuple[FormerRevision, ...]:
    """The revisions before the promoted one. What is left behind by going back is none: it is to be judged again."""
    replaced, former = situation.state.stable, situation.state.rollout.former_revisions
    place = next((number for number, one in enumerate(former) if one.revision == promoted.name), None)
    if place is not None:
        return former[:place]
    newest = FormerRevision(
        revision=replaced.name, version=replaced.version, template=replaced.template, until=situation.now
    )
    return (*former, newest)[-10:]


def _roll_back(situation: Situation, canary: Revision, reason: str, why: str, *, failed: bool = True) -> Decision:
    """Give all requests back to the stable revision; remember the revision as failed unless it was merely replaced."""
    state = situation.state
    message = why
    rollout = state.rollout
    if failed:
        message = (
            f"{_begin(_named(situation, canary))} was rolled back, {_former(situation, canary)} serves. "
            f"{_sentence(why)} "
            f"Apply a mended version, or try this one again: "
            f"{command_line(situation.service, Verb.RETRY, canary.name, situation.now)}"
        )
        entry = FailedRevision(
            revision=canary.name,
            version=canary.version,
            template=canary.template,
            reason=reason,
            message=message,
            at=situation.now,
        )
        former = tuple(one for one in rollout.former_revisions if one.revision != canary.name)
        rollout = rollout.model_copy(
            update={"failed_revisions": (*rollout.failed_revisions, entry)[-10:], "former_revisions": former}
        )
    moved = _moved(situation, replace(state, rollout=rollout), Phase.ROLLING_BACK, None, reason, message)
    return Decision(moved, (Transition("Warning" if failed else "Normal", "RollingBack", message),))


def _finish_roll_back(situation: Situation) -> Decision:
    state = situation.state
    if not situation.is_shifted:
        return Decision(state)
    rollout = _rollout_over(state.rollout)
    over = State(stable=state.stable, canary=None, rollout=rollout, analysis=state.analysis)
    failed = _failure_of(over, situation.asked)
    if failed is not None:
        moved = _moved(situation, over, Phase.ROLLED_BACK, None, failed.reason, failed.message)
        return Decision(moved, (Transition("Warning", "RolledBack", failed.message),))
    if situation.asked == state.stable:
        message = f"The spec asks for version {state.stable.version} again, which serves."
        return Decision(_moved(situation, over, Phase.STABLE, None, "Reverted", message))
    return Decision(_moved(situation, over, Phase.STABLE, None, rollout.reason, rollout.message))


def _failure_of(state: State, revision: Revision) -> FailedRevision | None:
    """Why `revision` was rolled back; None if it was not."""
    failed = (one for one in state.rollout.failed_revisions if one.revision == revision.name)
    return next(failed, None)


def _start_message(asked: Revision, stable: Revision) -> str:
    if asked.version != stable.version:
        return f"Version {asked.version} is being started beside version {stable.version}."
    template = ", which has the platform's present pod template," if asked.template != stable.template else ""
    return (
        f"The pods of version {stable.version} are renewed: revision {asked.name}{template} is being started beside "
        f"revision {stable.name}."
    )


def _named(situation: Situation, canary: Revision) -> str:
    """How messages name the revision that is to take over: the one that serves may be of the same version."""
    renewed = canary.version == situation.state.stable.version
    return f"the renewed version {canary.version}" if renewed else f"version {canary.version}"


def _former(situation: Situation, canary: Revision) -> str:
    """How messages name the revision that serves, beside the one that was to take over."""
    version = situation.state.stable.version
    return "the one before it" if canary.version == version else f"version {version}"


def _begin(words: str) -> str:
    return words[:1].upper() + words[1:]


def _sentence(cause: str) -> str:
    shortened = _shortened(cause)
    return shortened if shortened.endswith((".", "…")) else f"{shortened}."


def _shortened(cause: str) -> str:
    return cause if len(cause) <= _LONGEST_CAUSE else f"{cause[:_LONGEST_CAUSE]}…"


def _rollout_over(rollout: Rollout) -> Rollout:
    """What outlives a rollout."""
    return Rollout(
        reason=rollout.reason,
        message=rollout.message,
        failed_revisions=rollout.failed_revisions,
        former_revisions=rollout.former_revisions,
        last_command=rollout.last_command,
    )


def _moved(situation: Situation, state: State, phase: Phase, stage: Stage | None, reason: str, message: str) -> State:
    """`state` in another phase, with its clock begun anew, and its deadline later by the time a person has taken."""
    deadline = state.rollout.deadline
    if deadline is not None and waits_for_a_person(situation.state.rollout):
        deadline += situation.elapsed()
    changes = {
        "deadline": deadline,
        "phase": phase,
        "stage": stage,
        "reason": reason,
        "message": message[:2048],
        "stage_started_at": situation.now,
    }
    return replace(state, rollout=state.rollout.model_copy(update=changes))


def _at_stage(situation: Situation, state: State, stage: Stage) -> State:
    return _moved(situation, state, state.rollout.phase, stage, state.rollout.reason, state.rollout.message)


def _with_weight(situation: Situation, state: State) -> State:
    """Write down the share of the requests that is asked for, and the one that is in effect."""
    rollout = state.rollout
    weight = Weight()
    if state.canary is not None:
        policy = rollout.policy or situation.spec.canary
        mode = traffic_mode(policy, has_gateway=situation.has_gateway)
        weight = Weight(
            desired=wanted_weight(state, policy),
            applied=applied_weight(state, situation.observed, mode),
            measured=rollout.weight.measured,
        )
    return replace(state, rollout=rollout.model_copy(update={"weight": weight}))
