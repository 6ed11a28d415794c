"""Reconciling one InferenceService: read, decide, write the intent to status, then make the world match."""

import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from pydantic import ValidationError

from serinus import telemetry
from serinus.api.problems import spec_problems
from serinus.api.status import InferenceServiceStatus
from serinus.api.units import parse_duration
from serinus.api.v1beta1 import InferenceServiceSpec
from serinus.config import Settings
from serinus.core import canary, conditions, names, schedule, suspension
from serinus.core.access_control import access_controlled
from serinus.core.command import Command, InvalidCommand, parse_command
from serinus.core.desired import as_begun, desired, service_url
from serinus.core.identity import Identity
from serinus.core.matching import matches, not_kept
from serinus.core.observe import Children, Observed, observe
from serinus.core.plan import Action, Apply, Delete, Scale, plan
from serinus.core.platform import unfit_here
from serinus.core.projection import slim_service
from serinus.core.report import status_of
from serinus.core.situation import Situation, Transition
from serinus.core.state import State, state_of
from serinus.core.template_updates import asked_revision, deployed_revision, template_changes
from serinus.ports import (
    ApiConflictError,
    ApiRefusedError,
    Clock,
    Kube,
    Manifest,
    Metrics,
    MetricsQuery,
    MetricsSample,
    MetricsUnavailableError,
    NamespaceTerminatingError,
    Recorder,
)

logger: Final = logging.getLogger(__name__)

REFUSED_RETRY: Final = timedelta(minutes=1)
"""When a write that was refused for good is tried again, in case the reason has been put right."""


class _NotKeptError(Exception):
    """An object is there, and is not as it was applied."""


@dataclass(slots=True)
class _Memory:
    """What is remembered of a service between visits. It may be lost: all else is in the status."""

    uid: str
    refusal: str | None = None
    """Why a write of the last visit was refused."""
    failed_look: tuple[datetime, MetricsUnavailableError] | None = None
    """The last look at the metrics, if it failed."""
    not_kept: dict[str, tuple[Manifest, datetime]] = field(default_factory=dict)
    """Objects, by kind and name, that were applied and are not kept like that, and when that was."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a visit came to."""

    again_after: timedelta | None = None
    """When to come again even if nothing changes."""
    written: Manifest | None = None
    """The InferenceService as it is after its status was written; None when nothing was written."""


class Reconciler:
    """Makes the children of a service what its spec and its rollout say."""

    def __init__(self, kube: Kube, metrics: Metrics, recorder: Recorder, settings: Settings, clock: Clock) -> None:
        self._kube = kube
        self._metrics = metrics
        self._recorder = recorder
        self._settings = settings
        self._clock = clock
        self._memories: dict[tuple[str, str], _Memory] = {}

    def reconcile(self, service: Manifest, children: Children) -> Result:
        """Visit one service. `service` and `children` are as last seen, and are not changed.

        Raises ApiConflictError when what was seen is out of date, and whatever the API client raises for a fault
        that may pass; the caller comes again later.
        """
        if "deletionTimestamp" in service["metadata"]:
            return Result()
        now = self._clock()
        before = InferenceServiceStatus.model_validate(service.get("status", {}))
        observed = observe(service["metadata"]["uid"], children)
        try:
            spec = InferenceServiceSpec.model_validate(service["spec"])
        except ValidationError as error:
            problem, state = spec_problems(error), state_of(before)
            if state is not None and service["spec"].get("suspend") is True:
                return self._stand_still(service, before, state, observed, before.url, now, problem)
            return Result(written=self._report_invalid(service, before, observed, problem, now))
        unfit = unfit_here(spec, self._settings)
        if unfit is not None and not spec.suspend:
            return Result(written=self._report_invalid(service, before, observed, unfit, now))
        return self._visit(service, spec, before, children, observed, now)

    def forget(self, namespace: str, name: str) -> None:
        """Drop what is remembered of a service that is gone."""
        self._memories.pop((namespace, name), None)
        telemetry.forget(namespace, name)

    def _memory(self, service: Manifest) -> _Memory:
        metadata = service["metadata"]
        key = metadata["namespace"], metadata["name"]
        if key not in self._memories or self._memories[key].uid != metadata["uid"]:
            self._memories[key] = _Memory(metadata["uid"])
        return self._memories[key]

    def _visit(
        self,
        service: Manifest,
        spec: InferenceServiceSpec,
        before: InferenceServiceStatus,
        children: Children,
        observed: Observed,
        now: datetime,
    ) -> Result:
        identity, server = _identity(service), self._settings.server
        state = state_of(before)
        asked = asked_revision(identity, spec, state, observed, server)
        state = state or canary.first_state(asked, now)
        if spec.suspend:
            url = service_url(identity, state, spec, observed, self._settings.gateway)
            return self._stand_still(service, before, state, observed, url, now)
        resumed = suspension.resume(state, now)
        state = resumed.state
        look = self._look(service, state, observed, now)
        situation = Situation(
            spec,
            asked,
            state,
            observed,
            now,
            look,
            _command(service),
            service=_as_kubectl_names_it(service),
            has_gateway=self._settings.gateway is not None,
        )
        decision = canary.step(situation)
        begun = as_begun(spec, decision.state, observed)
        assertions = (
            *conditions.assess(decision.state, begun, look, self._memory(service).refusal, spec.canary),
            self._template_up_to_date(identity, situation, decision.state),
            access_controlled(identity, spec, decision.state.deployed, observed),
        )
        url = service_url(identity, decision.state, spec, observed, self._settings.gateway)
        written = self._write_status(service, before, decision.state, begun, assertions, url, now)
        self._tell(service, (*resumed.transitions, *decision.transitions))
        telemetry.count_rollout(service["metadata"], state, decision.state)
        wanted = desired(identity, spec, asked, decision.state, observed, server, self._settings.gateway)
        sooner = self._carry_out_all(service, plan(identity.uid, wanted, children))
        return Result(schedule.next_visit(decision.state, now) if sooner is None else sooner, written)

    def _template_up_to_date(self, identity: Identity, situation: Situation, state: State) -> conditions.Assertion:
        spec, asked, server = situation.spec, situation.asked, self._settings.server
        deployed = deployed_revision(spec, state, asked)
        changes = template_changes(identity, spec, deployed, situation.observed, server) if deployed else ()
        return conditions.template_up_to_date(asked, deployed, changes, situation.service, server.template_updates)

    def _stand_still(
        self,
        service: Manifest,
        before: InferenceServiceStatus,
        state: State,
        observed: Observed,
        url: str,
        now: datetime,
        problem: str | None = None,
    ) -> Result:
        """Report how a suspended service fares, and what is wrong with its spec, and leave all else as it is."""
        self._memory(service).refusal = None
        decision = suspension.suspend(state, now)
        assertions = conditions.suspended(decision.state, observed, problem)
        written = self._write_status(service, before, decision.state, observed, assertions, url, now)
        self._tell(service, decision.transitions)
        return Result(written=written)

    def _report_invalid(
        self,
        service: Manifest,
        before: InferenceServiceStatus,
        observed: Observed,
        problem: str,
        now: datetime,
    ) -> Manifest | None:
        """Say what is wrong with the spec, and leave all else as it is."""
        serves = before.stable is not None and observed.ready(before.stable.revision) > 0
        assertions = conditions.invalid_spec(problem, serves)
        metadata = service["metadata"]
        status = before.model_copy(
            update={
                "observed_generation": metadata["generation"],
                "conditions": conditions.with_times(assertions, before.conditions, metadata["generation"], now),
            }
        )
        return self._replace_status(service, before, status)

    def _look(
        self, service: Manifest, state: State, observed: Observed, now: datetime
    ) -> MetricsSample | MetricsUnavailableError | None:
        """Look at the metrics if it is time to; a look that failed stands until the next interval."""
        policy = state.rollout.policy
        if not schedule.look_is_due(state, now) or policy is None or state.canary is None:
            return None
        analysis = policy.analysis
        query = MetricsQuery(
            namespace=service["metadata"]["namespace"],
            service=service["metadata"]["name"],
            ready_pods={one.name: observed.ready(one.name) for one in (state.stable, state.canary)},
            since=state.analysis.last_tick_at if state.analysis else None,
            now=now,
            interval=parse_duration(analysis.interval),
            latency_thresholds={
                one.percentile: parse_duration(one.threshold).total_seconds() for one in analysis.latency
            },
        )
        memory = self._memory(service)
        if memory.failed_look is not None:
            failed_at, failure = memory.failed_look
            if failed_at <= now < failed_at + query.interval:
                return failure
        memory.failed_look = None
        try:
            return self._metrics.sample(query)
        except MetricsUnavailableError as error:
            memory.failed_look = now, error
            return error

    def _write_status(
        self,
        service: Manifest,
        before: InferenceServiceStatus,
        state: State,
        observed: Observed,
        assertions: tuple[conditions.Assertion, ...],
        url: str,
        now: datetime,
    ) -> Manifest | None:
        """Write the intent down before anything is done about it; nothing when it stands there already."""
        status = status_of(state, observed, assertions, before, service["metadata"]["generation"], url, now)
        return self._replace_status(service, before, status)

    def _replace_status(
        self, service: Manifest, before: InferenceServiceStatus, status: InferenceServiceStatus
    ) -> Manifest | None:
        if status == before:
            return None
        return slim_service(self._kube.write_status(service, status.to_wire()))

    def _tell(self, service: Manifest, transitions: tuple[Transition, ...]) -> None:
        for transition in transitions:
            telemetry.TRANSITIONS.labels(transition.reason).inc()
            logger.info("%s: %s", transition.reason, transition.message)
            self._recorder.event(service, transition.severity, transition.reason, transition.message)

    def _carry_out_all(self, service: Manifest, actions: tuple[Action, ...]) -> timedelta | None:
        """Make the writes in order; one that is refused for good does not hold up the others, such as a roll-back's.

        When to come again, where one was refused or no longer is.
        """
        memory = self._memory(service)
        refusals: dict[str, str] = {}
        changed: list[str] = []
        for action in actions:
            if isinstance(action, Scale) and action.name in refusals:
                continue
            try:
                self._carry_out(action, memory)
            except NamespaceTerminatingError:
                # The service goes with its namespace: what is refused now is not tried again.
                going = f"Namespace {service['metadata']['namespace']} is being deleted: nothing is created in it."
                before, memory.refusal = memory.refusal, going
                return None if before == going else timedelta()
            except _NotKeptError as error:
                changed.append(str(error))
            except ApiRefusedError as error:
                refusals[action.name if isinstance(action, Scale) else action.manifest["metadata"]["name"]] = str(error)
        before, memory.refusal = memory.refusal, " ".join((*refusals.values(), *changed)) or None
        if memory.refusal is None:
            return None if before is None else timedelta()
        if memory.refusal == before:
            return REFUSED_RETRY
        self._recorder.event(service, "Warning", "WriteRefused", memory.refusal)
        return timedelta()

    def _carry_out(self, action: Action, memory: _Memory) -> None:
        match action:
            case Apply(manifest, exists, replicas):
                self._apply(manifest, memory, force=exists, replicas=replicas)
            case Scale(namespace, name, replicas):
                self._kube.scale(namespace, name, replicas)
            case Delete(manifest):
                self._kube.delete(manifest)

    def _apply(self, manifest: Manifest, memory: _Memory, *, force: bool, replicas: int | None) -> None:
        """Apply an object. A new one is not forced: one of that name that is somebody else's is left alone.

        Where something keeps changing what is applied, it is not fought but told, and tried again after a while.
        """
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        key, now = f"{kind} {name}", self._clock()
        former, at = memory.not_kept.get(key, (None, now))
        if former == manifest and now < at + REFUSED_RETRY:
            raise _NotKeptError(not_kept(manifest))
        try:
            kept = self._kube.apply(manifest, force=force, replicas=replicas)
        except ApiConflictError as error:
            if force:
                raise
            raise ApiRefusedError(
                f"{kind} {name} is there already and belongs to somebody else; rename the InferenceService, or "
                f"remove that {kind}. ({error})"
            ) from error
        if not matches(manifest, kept):
            memory.not_kept[key] = manifest, now
            raise _NotKeptError(not_kept(manifest))
        memory.not_kept.pop(key, None)


def _identity(service: Manifest) -> Identity:
    metadata = service["metadata"]
    return Identity(metadata["namespace"], metadata["name"], metadata["uid"])


def _as_kubectl_names_it(service: Manifest) -> str:
    return f"{service['metadata']['name']} -n {service['metadata']['namespace']}"


def _command(service: Manifest) -> Command | InvalidCommand | None:
    return parse_command(service["metadata"].get("annotations", {}).get(names.COMMAND_ANNOTATION, ""))
