"""The InferenceService status: what the operator knows, and the state that a rollout resumes from."""

from datetime import datetime
from enum import StrEnum
from typing import Final, Literal

from pydantic import Field

from serinus.api.base import StatusModel
from serinus.api.v1beta1 import Canary


class Phase(StrEnum):
    """Where a service stands between its stable revision and a new one."""

    INITIALIZING = "Initializing"
    STABLE = "Stable"
    CANARY_STARTING = "CanaryStarting"
    PROGRESSING = "Progressing"
    PROMOTING = "Promoting"
    PAUSED = "Paused"
    ROLLING_BACK = "RollingBack"
    ROLLED_BACK = "RolledBack"


class Stage(StrEnum):
    """What a phase is at: SCALING and ANALYZING within a step, the rest within a promotion."""

    SCALING = "Scaling"
    ANALYZING = "Analyzing"
    SCALE_UP = "ScaleUp"
    SHIFT_TRAFFIC = "ShiftTraffic"
    BAKE = "Bake"


class Verdict(StrEnum):
    """What the analysis says of the new revision so far."""

    PASS = "Pass"  # noqa: S105
    FAIL = "Fail"
    INCONCLUSIVE = "Inconclusive"
    NO_DATA = "NoData"


_TEMPLATE: Final = (
    "Digest of the pod template, if the hash covers it: where the platform rolls changed templates out by itself."
)


class RevisionStatus(StatusModel):
    """A revision that is deployed."""

    revision: str = Field(max_length=63, description="Hash of what the pods run.")
    version: str = Field(max_length=63, description="The model's version.")
    template: str | None = Field(default=None, max_length=63, description=_TEMPLATE)
    replicas: int = Field(default=0, description="Pods that its Deployment is scaled to.")
    ready_replicas: int = Field(default=0, description="Pods that are ready to serve.")


class Weight(StatusModel):
    """The new revision's share of the requests, in percent."""

    desired: int = Field(default=0, description="What the step asks for, in percent.")
    applied: int = Field(
        default=0,
        description="What is in effect, in percent: the share that the ready pods make, or the weight of the route.",
    )
    measured: int | None = Field(
        default=None, description="The share that the new revision had of the requests in the last look, in percent."
    )


class FailedRevision(StatusModel):
    """A revision that was rolled back, and is not tried again until its spec changes or a retry is asked for."""

    revision: str = Field(max_length=63, description="Hash of what the pods ran.")
    version: str = Field(max_length=63, description="The model's version.")
    template: str | None = Field(default=None, max_length=63, description=_TEMPLATE)
    reason: str = Field(max_length=64, description="Why it was rolled back, in one word.")
    message: str = Field(max_length=2048, description="Why it was rolled back, and what to do.")
    at: datetime = Field(description="When it was rolled back.")


class FormerRevision(StatusModel):
    """A revision that has served all requests."""

    revision: str = Field(max_length=63, description="Hash of what the pods ran.")
    version: str = Field(max_length=63, description="The model's version.")
    template: str | None = Field(default=None, max_length=63, description=_TEMPLATE)
    until: datetime = Field(description="When it was replaced.")


class Rollout(StatusModel):
    """The state of the rollout. It is written before the world is made to match it."""

    phase: Phase = Field(
        default=Phase.INITIALIZING,
        description="Where the service stands: Initializing until the first version serves, Stable without a rollout, "
        "CanaryStarting, Progressing and Promoting within one, Paused while one waits, RollingBack and RolledBack "
        "after one has failed.",
    )
    stage: Stage | None = Field(
        default=None,
        description="What the phase is at: within a step Scaling, ShiftTraffic and Analyzing, within a promotion "
        "ScaleUp, ShiftTraffic and Bake.",
    )
    reason: str = Field(default="", max_length=64, description="Why the phase is what it is, in one word.")
    message: str = Field(default="", max_length=2048, description="Why the phase is what it is, in a sentence.")
    step_index: int = Field(default=0, description="The step of canary.steps, counted from 0.")
    weight: Weight = Field(default=Weight(), description="The new revision's share of the requests.")
    baseline_replicas: int = Field(
        default=0, description="Pods of the stable revision when the rollout began; it keeps at least these."
    )
    policy: Canary | None = Field(
        default=None,
        description="The canary policy that this rollout began with. It stays in force until the rollout is over.",
    )
    started_at: datetime | None = Field(default=None, description="When the rollout began.")
    deadline: datetime | None = Field(
        default=None, description="When the rollout is rolled back if it is not over by then."
    )
    stage_started_at: datetime | None = Field(default=None, description="When the stage began.")
    metrics_missing_since: datetime | None = Field(
        default=None, description="Since when the metrics could not be read."
    )
    suspended_at: datetime | None = Field(
        default=None,
        description="Since when spec.suspend holds the service. When it ends, the times above are moved on by as long, "
        "but for startedAt.",
    )
    failed_revisions: tuple[FailedRevision, ...] = Field(
        default=(), max_length=10, description="Revisions that were rolled back, newest last."
    )
    former_revisions: tuple[FormerRevision, ...] = Field(
        default=(),
        max_length=10,
        description="Revisions that served before the stable one, newest last. Going back to one drops it and those "
        "after it.",
    )
    last_command: str | None = Field(
        default=None,
        max_length=64,
        description="Id of the last command of the annotation serinus.dev/command.",
    )


class ArmCounts(StatusModel):
    """Requests of one revision that a check has looked at since the rollout began."""

    requests: int = Field(default=0, description="Requests that were counted.")
    bad: int = Field(default=0, description="Those of them that were bad, as the check counts.")


class Look(StatusModel):
    """What a check saw in one look."""

    until: datetime = Field(description="Up to when the look has counted; it began where the one before ended.")
    canary: ArmCounts = Field(default=ArmCounts(), description="The new revision.")
    baseline: ArmCounts = Field(default=ArmCounts(), description="The stable revision beside it.")


class CheckStatus(StatusModel):
    """The evidence of one check, gathered since the rollout began."""

    check: str = Field(
        max_length=16,
        description="What counts as bad: errors, requests that failed; latency-p95 and the like, requests slower than "
        "the threshold of that percentile.",
    )
    threshold: str = Field(max_length=64, description="The limit in words, such as 'P95 <= 250ms'.")
    canary: ArmCounts = Field(default=ArmCounts(), description="The new revision.")
    baseline: ArmCounts = Field(default=ArmCounts(), description="The stable revision beside it.")
    late_canary: ArmCounts = Field(
        default=ArmCounts(),
        description="The new revision's latest requests: those since the evidence against the limit began to rise.",
    )
    late_baseline: ArmCounts = Field(default=ArmCounts(), description="The stable revision's in the same looks.")
    bad_ticks: int = Field(
        default=0,
        description="Looks at which the new revision was over the limit, or over the tolerated multiple of stable.",
    )
    last_looks: tuple[Look, ...] = Field(
        default=(), max_length=3, description="What was counted in the last looks, newest last."
    )
    absolute_e: str = Field(
        default="", max_length=16, description="E-value against 'it keeps to the limit'; it rejects at rejectsAt."
    )
    relative_e: str = Field(
        default="",
        max_length=16,
        description="E-value against 'it is at most the tolerated number of times as bad as the stable revision'.",
    )
    rejects_at: str = Field(default="", max_length=16, description="The e-value at which each of the two is rejected.")
    relative_log_e: tuple[str, ...] = Field(
        default=(),
        max_length=16,
        description="Log e-value against the stable revision for each alternative ratio.",
    )
    difference_log_e: tuple[str, ...] = Field(
        default=(),
        max_length=16,
        description="Log e-value against a difference from the stable revision too small to matter, for each stake.",
    )
    absolute_log_e: tuple[str, ...] = Field(
        default=(), max_length=16, description="Log e-value against the limit for each alternative rate."
    )
    baseline_absolute_log_e: tuple[str, ...] = Field(
        default=(), max_length=16, description="The same of the stable revision: does it break the limit too?"
    )
    canary_latency: str | None = Field(
        default=None,
        max_length=16,
        description="The new revision's latency at the percentile, in the last look. To show, not to decide.",
    )
    baseline_latency: str | None = Field(
        default=None, max_length=16, description="The stable revision's latency at the percentile, in the last look."
    )
    verdict: Verdict = Field(default=Verdict.NO_DATA, description="What this check says so far.")
    message: str = Field(default="", max_length=512, description="The evidence in a sentence.")


class AnalysisStatus(StatusModel):
    """The analysis of the running or last rollout."""

    verdict: Verdict = Field(default=Verdict.NO_DATA, description="The verdict over all checks.")
    message: str = Field(default="", max_length=2048, description="The verdict in a sentence.")
    ticks: int = Field(default=0, description="Looks taken since the rollout began.")
    step_ticks: int = Field(default=0, description="Looks taken in this step.")
    step_requests: int = Field(default=0, description="Requests of the new revision seen in this step.")
    last_tick_at: datetime | None = Field(default=None, description="Up to when requests are counted.")
    query: str = Field(
        default="",
        max_length=2048,
        description="The PromQL of the samples that the last look was counted from, with the time of asking.",
    )
    checks: tuple[CheckStatus, ...] = Field(default=(), max_length=8, description="The evidence of each check.")


class Condition(StatusModel):
    """A Kubernetes condition."""

    type: str = Field(max_length=64, description="What the condition is about; the field conditions lists them.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: str = Field(max_length=128, pattern="^[A-Za-z][A-Za-z0-9]*$", description="Why, in one word for programs.")
    message: str = Field(default="", max_length=4096, description="Why, and what to do.")
    last_transition_time: datetime = Field(description="When the status last changed.")
    observed_generation: int = Field(default=0, description="The generation of the spec that it speaks of.")


class InferenceServiceStatus(StatusModel):
    """The observed state of an inference service."""

    observed_generation: int = Field(default=-1, description="The generation of the spec that the status speaks of.")
    stable: RevisionStatus | None = Field(default=None, description="The revision that serves.")
    canary: RevisionStatus | None = Field(default=None, description="The revision that is being rolled out.")
    replicas: str = Field(default="", max_length=32, description="Ready and wanted pods of all revisions.")
    url: str = Field(
        default="",
        max_length=253,
        description="Where the service answers: at its host on the platform's Gateway where a route leads to it, else "
        "inside the cluster.",
    )
    rollout: Rollout = Field(default=Rollout(), description="The state of the rollout.")
    analysis: AnalysisStatus | None = Field(default=None, description="The analysis of the running or last rollout.")
    conditions: tuple[Condition, ...] = Field(
        default=(),
        max_length=16,
        description="Ready: the stable revision serves. RolloutHealthy: no rollout is paused or was rolled back. "
        "MetricsAvailable: a rollout can be judged. TemplateUpToDate: the pods run the platform's present template. "
        "ScalingActive, with an autoscaler: it gets its metrics. And only while they hold: Reconciling, something is "
        "under way; Stalled, it takes a person; Suspended; EvictionsBlocked, the disruption budget cannot be worked "
        "out.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
