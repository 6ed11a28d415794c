"""The InferenceService spec, version v1beta1: what its users declare."""

import re
from datetime import timedelta
from itertools import pairwise
from typing import Annotated, Final, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from serinus.api import model_uri, units
from serinus.api.base import Duration, Percentage, Quantity, SpecModel, TruthValue, Whole, cel_rule, cel_rules
from serinus.api.buckets import BUCKET_BOUNDS_SECONDS, is_bucket_bound, nearest_bounds
from serinus.api.serving import Access, Audit, Quota, Server

GROUP: Final = "serinus.dev"
VERSION: Final = "v1beta1"
PLURAL: Final = "inferenceservices"
KIND: Final = "InferenceService"
API_VERSION: Final = f"{GROUP}/{VERSION}"

NAME_PATTERN: Final = "^[a-z]([-a-z0-9]*[a-z0-9])?$"
NAME_MAX_LENGTH: Final = 52
"""Leaves room for `-<revision>` within the 63 characters of a label value."""

MOVING_VERSIONS: Final = ("latest", "newest", "current", "head", "main", "master", "stable", "production")
"""Names that point at something else tomorrow, and so are not versions."""

MOST_REPLICAS: Final = 1000
"""Pods that the stable revision of a service may have."""

_BOUNDS_CEL: Final = "[" + ", ".join(f"duration('{bound:f}s')" for bound in BUCKET_BOUNDS_SECONDS) + "]"


_URI_CEL: Final = f"^({model_uri.PATTERN})$".replace("\\", "\\\\")
_NO_LATEST: Final = "must name an image by the tag of one version or by its digest: the tag latest moves"
_NO_BRANCH: Final = "needs model.sha256, or a commit or tag, as in hf://owner/repository@v1/path: main moves"
_NO_ACCOUNT: Final = "needs model.credentials for az://: the Secret names the account, as AZURE_STORAGE_ACCOUNT_NAME"
_NO_CREDENTIALS: Final = "cannot be used with pvc://, which mounts the claim as it is"


def _nearest_bounds_cel() -> str:
    """A CEL expression for the bounds around a duration; nested choices, since a search costs more than CEL may."""
    words = [units.format_duration(timedelta(seconds=bound)) for bound in BUCKET_BOUNDS_SECONDS]
    around = [words[0], *(f"{below} and {above}" for below, above in pairwise(words)), words[-1]]
    choices = (f"duration(self) < duration('{word}') ? '{text}' : " for word, text in zip(words, around, strict=False))
    return "".join(choices) + f"'{around[-1]}'"


class Credentials(SpecModel):
    """Where the fetching container takes its credentials from."""

    secret_name: str = Field(
        min_length=1,
        max_length=253,
        pattern=r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$",
        description="Name of a Secret in the same namespace. Its keys become environment variables of the container "
        "that fetches the model. For s3: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL. For "
        "gs: GOOGLE_SERVICE_ACCOUNT_KEY. For az: AZURE_STORAGE_ACCOUNT_NAME, and AZURE_STORAGE_ACCOUNT_KEY or "
        "AZURE_STORAGE_SAS_TOKEN. For hf: HF_TOKEN. For oci it is a Secret of the type "
        "kubernetes.io/dockerconfigjson, with which the kubelet pulls the image. The operator never reads it.",
    )


class PipelineStage(SpecModel):
    """One model of a pipeline."""

    name: str = Field(
        min_length=1,
        max_length=63,
        pattern="^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        description="The stage's name, such as preprocess. Metrics tell the time of each stage by it.",
    )
    file: str = Field(
        min_length=1,
        max_length=253,
        pattern=r"^[A-Za-z0-9_][-_.A-Za-z0-9]*(/[A-Za-z0-9_][-_.A-Za-z0-9]*)*[.]onnx$",
        description="The stage's file in the model's folder, such as preprocess.onnx.",
    )


class Model(SpecModel):
    """Which model, and exactly which version of it."""

    model_config = ConfigDict(
        json_schema_extra=cel_rules(
            cel_rule(
                f"self.uri.matches('{_URI_CEL}')",
                f"model.uri must be {model_uri.FORMS}",
                fieldPath=".uri",
            ),
            cel_rule(
                "!has(self.credentials) || !self.uri.startsWith('pvc://')",
                f"model.credentials {_NO_CREDENTIALS}",
                fieldPath=".credentials",
            ),
            cel_rule(
                f"!self.uri.matches('^{model_uri.LATEST_IMAGE}$')",
                f"model.uri {_NO_LATEST}",
                fieldPath=".uri",
            ),
            cel_rule(
                f"has(self.sha256) || !self.uri.matches('^{model_uri.MAIN_BRANCH}$')",
                f"model.uri {_NO_BRANCH}",
                fieldPath=".uri",
            ),
            cel_rule(
                "has(self.credentials) || !self.uri.startsWith('az://')",
                f"model.uri {_NO_ACCOUNT}",
                fieldPath=".uri",
            ),
            cel_rule(
                f"!(self.version.lowerAscii() in {list(MOVING_VERSIONS)})",
                "model.version must name one version for good, such as 7 or 2026-11-24; a name like latest "
                "moves, and could be neither tested nor rolled back to",
                fieldPath=".version",
            ),
            cel_rule(
                "!has(self.pipeline) || self.uri.endsWith('/')",
                "model.pipeline needs a model.uri that ends in /: the folder with the files of its stages",
                fieldPath=".uri",
            ),
        )
    )

    uri: str = Field(
        min_length=1,
        max_length=1024,
        description="Where the ONNX model lies. Each pod fetches it from s3://bucket/path/model.onnx (S3), "
        "gs://bucket/path/model.onnx (Google Cloud Storage), az://container/path/model.onnx (Azure Blob Storage), "
        "hf://owner/repository@revision/path/model.onnx (Hugging Face Hub, at a commit or tag) or "
        "https://host/path/model.onnx. Mounted read-only are oci://registry/repository:tag/path/model.onnx, a file of "
        "an image that is named by tag or digest, and pvc://claim/path/model.onnx, on a PersistentVolumeClaim of the "
        "namespace. A path that ends in / is a folder and is taken whole.",
    )
    version: str = Field(
        min_length=1,
        max_length=63,
        pattern=r"^[A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?$",
        description="The model's version, such as 7, as clients and metrics see it. A changed version is a new "
        "revision, which goes through the canary. Names that move, such as latest, are refused: they could be neither "
        "judged nor gone back to.",
    )
    sha256: str | None = Field(
        default=None,
        pattern="^[0-9a-f]{64}$",
        max_length=64,
        description="SHA-256 of the model file, in lower-case hexadecimal, as sha256sum prints it. A file with another "
        "digest is not served, and a rollout to it is rolled back with the reason DigestMismatch. What is on a "
        "volume can change; it is looked at when a pod starts. Left out: any file is served.",
    )
    credentials: Credentials | None = Field(
        default=None,
        description="Credentials for fetching the model from its uri. Left out: it is fetched without any.",
    )
    pipeline: Annotated[tuple[PipelineStage, ...], Field(min_length=1, max_length=16)] | None = Field(
        default=None,
        description="Models that are run one after the other in one process, such as preprocess, model, postprocess. A "
        "stage takes the outputs of those before it by their names, and inputs that none of them gives from the "
        "request. Left out: the folder or file holds one model.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )

    @field_validator("uri")
    @classmethod
    def _uri_has_a_known_scheme(cls, uri: str) -> str:
        if not re.fullmatch(model_uri.PATTERN, uri):
            raise ValueError(f"must be {model_uri.FORMS}")
        if re.fullmatch(model_uri.LATEST_IMAGE, uri):
            raise ValueError(_NO_LATEST)
        return uri

    @field_validator("version")
    @classmethod
    def _version_does_not_move(cls, version: str) -> str:
        if version.lower() in MOVING_VERSIONS:
            raise ValueError("must name one version for good, such as 7 or 2026-11-24; a name like latest moves")
        return version

    @model_validator(mode="after")
    def _credentials_are_of_use(self) -> Self:
        if self.credentials is not None and model_uri.on_claim(self.uri):
            raise ValueError(f"credentials {_NO_CREDENTIALS}")
        if self.credentials is None and self.uri.startswith("az://"):
            raise ValueError(f"uri {_NO_ACCOUNT}")
        return self

    @model_validator(mode="after")
    def _a_branch_is_held_to_a_digest(self) -> Self:
        if self.sha256 is None and re.fullmatch(model_uri.MAIN_BRANCH, self.uri, re.DOTALL):
            raise ValueError(f"uri {_NO_BRANCH}")
        return self

    @model_validator(mode="after")
    def _a_pipeline_is_in_a_folder(self) -> Self:
        if self.pipeline is not None and not self.uri.endswith("/"):
            raise ValueError("a pipeline needs a uri that ends in /: the folder with the files of its stages")
        return self

    @field_validator("pipeline")
    @classmethod
    def _stages_have_different_names(cls, stages: tuple[PipelineStage, ...] | None) -> tuple[PipelineStage, ...] | None:
        if stages is not None and len({stage.name for stage in stages}) < len(stages):
            raise ValueError("must give each stage a name of its own")
        return stages


class ResourceAmounts(SpecModel):
    """Amounts of the resources that a server container uses."""

    cpu: Quantity | None = Field(
        default=None, description="CPU in cores, such as 2, or 500m for half a core. Left out: none is stated."
    )
    memory: Quantity | None = Field(
        default=None, description="Memory in bytes, such as 512Mi or 1Gi. Left out: none is stated."
    )


class Resources(SpecModel):
    """Compute resources of each server container, with the meaning they have in a pod."""

    model_config = ConfigDict(
        json_schema_extra=cel_rules(
            *(
                cel_rule(
                    f"!has(self.requests.{name}) || !has(self.limits.{name}) || "
                    f"quantity(string(self.requests.{name})).compareTo(quantity(string(self.limits.{name}))) <= 0",
                    f"resources.requests.{name} must not be more than resources.limits.{name}",
                )
                for name in ("cpu", "memory")
            )
        )
    )

    requests: ResourceAmounts = Field(
        default=ResourceAmounts(cpu="100m", memory="128Mi"),
        description="What the scheduler sets aside for a pod on its node. CPU utilization, which the autoscaler goes "
        "by, is measured against it. Not more than the limits.",
    )
    limits: ResourceAmounts = Field(
        default=ResourceAmounts(cpu="1", memory="512Mi"),
        description="What a pod may use at most. The server runs one thread for each core of its CPU limit, and is "
        "killed when it needs more memory than its limit (reason OOMKilled).",
    )

    @model_validator(mode="after")
    def _requests_are_within_limits(self) -> Self:
        for name in ("cpu", "memory"):
            request, limit = getattr(self.requests, name), getattr(self.limits, name)
            if request and limit and units.parse_quantity(request) > units.parse_quantity(limit):
                raise ValueError(f"requests.{name} must not be more than limits.{name}")
        return self


class AutoscalingTargets(SpecModel):
    """What the autoscaler holds the pods at."""

    cpu_utilization_percent: Whole = Field(
        default=70,
        ge=1,
        le=100,
        description="Average CPU use of the stable pods that the autoscaler aims at, in percent of their CPU request. "
        "More use adds pods, less removes them.",
    )
    in_flight_requests: Whole | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="Requests in work at once that the autoscaler aims at for each stable pod, on average. Of the two "
        "targets, the one that asks for more pods decides. It goes by the metric serinus_in_flight_requests of the "
        "pods, which a metrics adapter, such as prometheus-adapter, has to serve under custom.metrics.k8s.io; the "
        "condition ScalingActive says so where none does. Left out: CPU use alone decides.",
    )


class Autoscaling(SpecModel):
    """How many pods serve the model."""

    model_config = ConfigDict(
        json_schema_extra=cel_rules(
            cel_rule(
                "!has(self.maxReplicas) || self.minReplicas <= self.maxReplicas",
                "autoscaling.minReplicas must not be more than autoscaling.maxReplicas",
                fieldPath=".minReplicas",
            )
        )
    )

    min_replicas: Whole = Field(
        default=1,
        ge=1,
        le=MOST_REPLICAS,
        description="The fewest pods of the stable revision. During a rollout it keeps at least as many as before.",
    )
    max_replicas: Whole | None = Field(
        default=None,
        ge=1,
        le=MOST_REPLICAS,
        description="The most pods of the stable revision. Left out, or equal to minReplicas: a fixed number of pods "
        "and no autoscaler.",
    )
    targets: AutoscalingTargets = Field(
        default=AutoscalingTargets(),
        description="When the autoscaler adds or removes pods. Without an autoscaler they have no effect.",
    )

    @model_validator(mode="after")
    def _minimum_is_within_maximum(self) -> Self:
        if self.max_replicas is not None and self.min_replicas > self.max_replicas:
            raise ValueError("minReplicas must not be more than maxReplicas")
        return self


class CanaryStep(SpecModel):
    """A stage of a rollout: so much of the traffic, for at least so long."""

    weight_percent: Whole = Field(
        ge=1,
        le=100,
        description="Share of the requests that the new revision gets, in percent; at least that of the step before. "
        "Where requests are shared out by numbers of pods, the share is the nearest that those make.",
    )
    duration: Duration = Field(
        description="How long the step lasts at least, such as 5m, from when its weight is in effect. It is over when "
        "the analysis has passed, too."
    )


class LatencyCheck(SpecModel):
    """How slow the new revision may be, at one percentile."""

    percentile: Whole = Field(
        ge=50,
        le=99,
        description="Which percentile of the durations of successful requests is held to the threshold: with 95, at "
        "most 5% of them may be slower.",
    )
    threshold: Duration = Field(
        description="The longest duration allowed at that percentile. One of the server's histogram bounds, such as "
        "10ms, 25ms, 50ms, 100ms, 250ms, 500ms or 1s, so that slower requests are counted exactly.",
        json_schema_extra=cel_rules(
            cel_rule(
                f"!self.matches('{units.DURATION_PATTERN}') || {_BOUNDS_CEL}.exists(bound, bound == duration(self))",
                "latency.threshold must be one of the server's histogram bounds, from 100us to 30s",
                messageExpression=(
                    "'latency.threshold ' + self + ' is not one of the bounds of the server\\'s latency histogram; "
                    f"the nearest are ' + ({_nearest_bounds_cel()})"
                ),
            )
        ),
    )

    @field_validator("threshold")
    @classmethod
    def _threshold_is_a_bucket_bound(cls, threshold: str) -> str:
        duration = units.parse_duration(threshold)
        if not is_bucket_bound(duration):
            nearest = [units.format_duration(bound) for bound in nearest_bounds(duration) if bound is not None]
            raise ValueError(
                f"{threshold} is not one of the server's histogram bounds; the nearest: {' and '.join(nearest)}"
            )
        return threshold


class ErrorsCheck(SpecModel):
    """How many requests of the new revision may fail."""

    threshold: Percentage = Field(
        default="1%",
        description="The largest share of requests allowed to fail (status 5xx and timeouts), such as 1% or 0.5%.",
        json_schema_extra=cel_rules(
            cel_rule(
                "!self.matches('^(0+([.]0+)?|100)%$')",
                "errors.threshold must be more than 0% and less than 100%",
            )
        ),
    )

    @field_validator("threshold")
    @classmethod
    def _threshold_is_a_real_limit(cls, threshold: str) -> str:
        if not 0 < units.parse_percentage(threshold) < 1:
            raise ValueError("must be more than 0% and less than 100%")
        return threshold


class BaselineComparison(SpecModel):
    """How the new revision is compared with the stable one, which serves beside it."""

    tolerance: str = Field(
        default="1.5",
        pattern=units.DECIMAL_PATTERN,
        max_length=7,
        description="How many times as many bad requests as the stable revision are tolerated; at least 1.",
        json_schema_extra=cel_rules(
            cel_rule("self.matches('^0*[1-9]')", "baseline.tolerance must be at least 1, such as 1.5")
        ),
    )

    @field_validator("tolerance")
    @classmethod
    def _tolerance_is_at_least_one(cls, tolerance: str) -> str:
        if float(tolerance) < 1:
            raise ValueError("must be at least 1, such as 1.5")
        return tolerance


class Analysis(SpecModel):
    """How the new revision is judged while it serves part of the traffic."""

    model_config = ConfigDict(
        json_schema_extra=cel_rules(
            cel_rule(
                "self.latency.all(one, self.latency.all(other, one.percentile >= other.percentile || "
                "duration(one.threshold) < duration(other.threshold)))",
                "analysis.latency: a higher percentile needs a longer threshold; else the lower one decides nothing",
                fieldPath=".latency",
            )
        )
    )

    interval: Duration = Field(
        default="30s",
        description="How often the metrics are looked at, such as 30s; at least four scrapes pass between two looks. "
        "Looking more often finds a bad revision sooner and makes no verdict less safe.",
    )
    latency: Annotated[tuple[LatencyCheck, ...], Field(max_length=4)] = Field(
        default=(),
        description="The latency that the new revision is held to, at one or more percentiles. Each is a check of its "
        "own; that there are several makes a roll-back by mistake no likelier. Left out: latency is not judged.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["percentile"]},
    )
    errors: ErrorsCheck = Field(
        default=ErrorsCheck(), description="The share of failing requests that the new revision is held to."
    )
    baseline: BaselineComparison = Field(
        default=BaselineComparison(),
        description="The comparison with the stable revision, which serves at the same time: a new revision that is "
        "much worse is rolled back even within its limits.",
    )
    min_requests: Whole = Field(
        default=100,
        ge=1,
        le=10_000_000,
        description="How many requests of the new revision a step has to see to pass. A rollout says when it begins if "
        "these are too few for the thresholds to be shown to hold.",
    )
    on_insufficient_traffic: Literal["Pause", "Promote", "Rollback"] = Field(
        default="Pause",
        description="What to do when a step has taken five times its duration and has still seen too few requests. "
        "Pause waits for more requests or for a person, Promote takes the step for passed, Rollback rolls back.",
    )

    @field_validator("latency")
    @classmethod
    def _percentiles_are_different(cls, latency: tuple[LatencyCheck, ...]) -> tuple[LatencyCheck, ...]:
        if len({one.percentile for one in latency}) < len(latency):
            raise ValueError("must name each percentile once")
        return latency

    @field_validator("latency")
    @classmethod
    def _thresholds_rise_with_percentiles(cls, latency: tuple[LatencyCheck, ...]) -> tuple[LatencyCheck, ...]:
        for lower, higher in pairwise(sorted(latency, key=lambda one: one.percentile)):
            if units.parse_duration(lower.threshold) >= units.parse_duration(higher.threshold):
                raise ValueError(
                    f"P{higher.percentile} needs a longer threshold than P{lower.percentile}; else P{lower.percentile} "
                    "decides nothing"
                )
        return latency


class Traffic(SpecModel):
    """How requests are shared out between the stable revision and a new one."""

    mode: Literal["Auto", "Replicas", "GatewayAPI"] = Field(
        default="Auto",
        description="Replicas shares requests by the numbers of pods behind one Service, so that weights are as fine "
        "as those numbers allow. GatewayAPI shares them exactly, by the weights of an HTTPRoute on the platform's "
        "Gateway; those who call the Service itself then reach the stable revision only. Auto is GatewayAPI where the "
        "platform has a Gateway, else Replicas.",
    )
    precision: Literal["Approximate", "Strict"] = Field(
        default="Approximate",
        description="How closely numbers of pods have to make a step's weight; a Gateway makes it exactly. Approximate "
        "takes the nearest that the stable pods allow. Strict is within one percentage point: it starts more stable "
        "pods for the rollout where autoscaling.maxReplicas has room for them, and a weight that the most pods do not "
        "make is an invalid spec. More than half cannot be made by pods.",
    )


class RollbackWindow(SpecModel):
    """Which former revisions are known to be good."""

    revisions: Whole = Field(
        ge=1,
        le=10,
        description="How many revisions before the stable one are gone back to without a judgement. One that was left "
        "behind by going back, or was rolled back, is not among them.",
    )


_DEFAULT_STEPS: Final = (
    CanaryStep(weight_percent=5, duration="2m"),
    CanaryStep(weight_percent=25, duration="5m"),
    CanaryStep(weight_percent=50, duration="5m"),
)


class Canary(SpecModel):
    """How a new revision takes over from the stable one."""

    model_config = ConfigDict(
        json_schema_extra=cel_rules(
            cel_rule(
                "self.steps.map(step, step.weightPercent).isSorted()",
                "canary.steps must not fall in weight: each weightPercent is at least the one before it",
                fieldPath=".steps",
            ),
            cel_rule(
                "duration(self.deadline) > self.steps.map(step, duration(step.duration)).sum()",
                "canary.deadline must be longer than all steps together",
                fieldPath=".deadline",
            ),
        )
    )

    steps: Annotated[tuple[CanaryStep, ...], Field(min_length=1, max_length=20)] = Field(
        default=_DEFAULT_STEPS,
        description="The stages of a rollout, in order. After the last one the new revision gets all requests and is "
        "promoted.",
    )
    analysis: Analysis = Field(default=Analysis(), description="How the new revision is judged.")
    traffic: Traffic = Field(default=Traffic(), description="How requests are shared out during a rollout.")
    promotion: Literal["Automatic", "Manual"] = Field(
        default="Automatic",
        description="What follows the last step. Automatic promotes the new revision; Manual waits at the last weight "
        "until a person says so: kubectl serinus promote, or the annotation serinus.dev/command.",
    )
    deadline: Duration = Field(
        default="1h",
        description="How long a rollout may take, such as 1h; one that takes longer is rolled back. Longer than all "
        "steps together. Time in which it waits for a person, or is suspended, does not count.",
    )
    rollback_window: RollbackWindow | None = Field(
        default=None,
        description="Lets a revision that has served before take over again at once: as soon as its pods are ready, "
        "without steps. Left out: it is judged like a new one.",
    )

    def step_at(self, index: int) -> CanaryStep:
        """The step of that index, counted from 0; once all are passed, the last one."""
        return self.steps[min(index, len(self.steps) - 1)]

    @model_validator(mode="after")
    def _weights_do_not_fall(self) -> Self:
        weights = [step.weight_percent for step in self.steps]
        if weights != sorted(weights):
            raise ValueError("steps must not fall in weight: each weightPercent is at least the one before it")
        return self

    @model_validator(mode="after")
    def _deadline_leaves_time_for_the_steps(self) -> Self:
        together = sum((units.parse_duration(step.duration) for step in self.steps), timedelta())
        if units.parse_duration(self.deadline) <= together:
            raise ValueError("deadline must be longer than all steps together")
        return self


class InferenceServiceSpec(SpecModel):
    """The desired state of an inference service."""

    model_config = ConfigDict(
        json_schema_extra=cel_rules(
            cel_rule(
                "!has(self.quota) || !has(self.quota.perClient) || has(self.access)",
                "quota.perClient needs access: without it clients cannot be told apart",
                fieldPath=".quota",
            ),
            cel_rule(
                "!has(self.server.tls) || self.canary.traffic.mode != 'GatewayAPI'",
                "server.tls cannot go with canary.traffic.mode GatewayAPI: a Gateway would speak to the pods without "
                "TLS; use Replicas",
                fieldPath=".server",
            ),
        )
    )

    model: Model = Field(
        description="The model that is served. A change is a new revision, which goes through the canary."
    )
    resources: Resources = Field(
        default=Resources(),
        description="Compute resources of each pod. A change is a new revision, which goes through the canary.",
    )
    server: Server = Field(
        default=Server(),
        description="How the server runs the model. A change is a new revision, which goes through the canary.",
    )
    quota: Quota | None = Field(
        default=None,
        description="How much may be asked for. A change restarts nothing: the pods read it within the minute or two "
        "that the kubelet takes. Left out: as much as the pods can do.",
    )
    access: Access | None = Field(
        default=None,
        description="Who may ask. A change restarts nothing, but for going over to or from KubernetesToken. Left out: "
        "everyone who reaches the pods.",
    )
    audit: Audit | None = Field(
        default=None,
        description="Which requests and replies are kept. A change restarts nothing. Left out: none.",
    )
    autoscaling: Autoscaling = Field(
        default=Autoscaling(), description="How many pods serve the model. A change takes effect at once."
    )
    canary: Canary = Field(
        default=Canary(),
        description="How a new revision takes over from the stable one. A rollout that has begun keeps the policy that "
        "it began with; a change applies to the next.",
    )
    revision_history_limit: Whole = Field(
        default=10,
        ge=0,
        le=100,
        description="How many former revisions are kept as ControllerRevisions, beside those in use. A kept one is "
        "deployed exactly as it was when the spec goes back to it; one that is not, such as one that was rolled back, "
        "with the platform's present pod template.",
    )
    restarted_at: str | None = Field(
        default=None,
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$",
        max_length=64,
        description="When new pods of the same model were asked for, such as 2026-11-24T08:00:00Z. Another value is a "
        "new revision: it is made from the platform's present pod template and server image, and goes through the "
        "canary. Unless the platform rolls changed templates out by itself, nothing else brings one to a model that "
        "stays; the condition TemplateUpToDate says what is due.",
    )
    suspend: TruthValue = Field(
        default=False,
        description="While true, the operator changes nothing of the service: what runs goes on serving with the share "
        "of the requests that it has, other changes of the spec wait, and the clocks of a rollout, such as its "
        "deadline, stand still. Only the status is kept up to date.",
    )

    @model_validator(mode="after")
    def _clients_can_be_told_apart(self) -> Self:
        if self.quota is not None and self.quota.per_client is not None and self.access is None:
            raise ValueError("quota.perClient needs access: without it clients cannot be told apart")
        return self

    @model_validator(mode="after")
    def _no_gateway_before_tls(self) -> Self:
        if self.server.tls is not None and self.canary.traffic.mode == "GatewayAPI":
            raise ValueError(
                "server.tls cannot go with canary.traffic.mode GatewayAPI: a Gateway would speak to the pods without "
                "TLS; use Replicas"
            )
        return self
