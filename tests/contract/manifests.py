"""InferenceServices that are right and wrong, each as the changes that it makes to the smallest one."""

import copy
import re
from dataclasses import dataclass, field
from typing import Any, Final

Manifest = dict[str, Any]

SMALLEST: Final[Manifest] = {
    "apiVersion": "serinus.dev/v1beta1",
    "kind": "InferenceService",
    "metadata": {"name": "fraud", "namespace": "default"},
    "spec": {"model": {"uri": "s3://models/fraud/1/model.onnx", "version": "1"}},
}

STEP: Final = {"weightPercent": 10, "duration": "1m"}
ABSENT: Final = object()
"""In place of a value: the field is left out."""


@dataclass(frozen=True)
class Example:
    """One manifest; `changes` are values by dotted path below the object."""

    name: str
    changes: dict[str, Any] = field(default_factory=dict)
    says: str = ""
    """Of an invalid one: a pattern of what the API server has to say about it."""

    def manifest(self) -> Manifest:
        """The smallest InferenceService with the changes made."""
        return changed(SMALLEST, self.changes)


def changed(manifest: Manifest, changes: dict[str, Any]) -> Manifest:
    """A copy of `manifest` with values set by dotted path."""
    result = copy.deepcopy(manifest)
    for path, value in changes.items():
        *folders, last = path.split(".")
        place = result
        for folder in folders:
            place = place.setdefault(folder, {})
        if value is ABSENT:
            del place[last]
        else:
            place[last] = copy.deepcopy(value)
    return result


_ANALYSIS: Final = "spec.canary.analysis"
_LATENCY: Final = f"{_ANALYSIS}.latency"


def _percentiles(**thresholds: str) -> list[Manifest]:
    """The checks of latency for p50="10ms" and the like."""
    return [{"percentile": int(one.removeprefix("p")), "threshold": threshold} for one, threshold in thresholds.items()]


def _weights(*weights: int) -> list[Manifest]:
    return [{"weightPercent": weight, "duration": "1m"} for weight in weights]


VALID: Final = (
    Example("the_smallest"),
    Example("all_fields", {
        "spec.suspend": True,
        "spec.revisionHistoryLimit": 3,
        "spec.restartedAt": "2026-11-24T08:00:00Z",
        "spec.model.sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "spec.model.credentials": {"secretName": "models-s3"},
        "spec.model.uri": "s3://models/fraud/1/",
        "spec.model.pipeline": [{"name": "preprocess", "file": "preprocess.onnx"}, {"name": "model", "file": "m.onnx"}],
        "spec.server": {
            "protocols": ["REST", "gRPC"],
            "batching": "Off",
            "limits": {"maxBodySize": "1Mi", "requestTimeout": "5s"},
            "tls": {"secretName": "fraud-tls"},
            "workers": 4,
        },
        "spec.quota": {
            "requestsPerSecond": 200,
            "burst": 50,
            "maxConcurrentRequests": 64,
            "perClient": {"requestsPerSecond": 20, "burst": 5, "maxConcurrentRequests": 4},
        },
        "spec.access": {
            "mode": "KubernetesToken",
            "allowedUsers": ["system:serviceaccount:shop:web"],
            "allowedGroups": ["system:serviceaccounts:risk"],
        },
        "spec.audit": {
            "url": "http://collector.audit.svc:8080/serinus?tenant=risk",
            "sample": "0.5%",
            "redact": ["face"],
            "maxTensorBytes": 64,
        },
        "spec.resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "1Gi"}},
        "spec.autoscaling": {
            "minReplicas": 2,
            "maxReplicas": 10,
            "targets": {"cpuUtilizationPercent": 60, "inFlightRequests": 4},
        },
        "spec.canary": {
            "steps": _weights(5, 25, 50),
            "analysis": {
                "interval": "30s",
                "latency": [{"percentile": 50, "threshold": "50ms"}, {"percentile": 99, "threshold": "250ms"}],
                "errors": {"threshold": "0.5%"},
                "baseline": {"tolerance": "2"},
                "minRequests": 1000,
                "onInsufficientTraffic": "Rollback",
            },
            "traffic": {"mode": "Replicas", "precision": "Strict"},
            "promotion": "Manual",
            "deadline": "1h30m",
            "rollbackWindow": {"revisions": 3},
        },
    }),
    Example("access_by_key", {"spec.access": {"mode": "APIKey"}, "spec.quota.perClient": {"requestsPerSecond": 5}}),
    Example("workers_by_themselves", {"spec.server.workers": "Auto"}),
    Example("most_workers_as_text", {"spec.server.workers": "64"}),
    Example("body_size_in_bytes", {"spec.server.limits": {"maxBodySize": 1048576}}),
    Example("stage_in_a_folder", {
        "spec.model.uri": "https://models.example/fraud/",
        "spec.model.pipeline": [{"name": "features-2", "file": "parts/features.v2.onnx"}],
    }),
    Example("https_uri", {"spec.model.uri": "https://models.example/fraud/model.onnx"}),
    Example("uri_in_google_cloud_storage", {"spec.model.uri": "gs://models_eu/fraud/1/"}),
    Example("uri_in_azure", {
        "spec.model.uri": "az://models/fraud/1/model.onnx", "spec.model.credentials": {"secretName": "models-az"},
    }),
    Example("uri_of_a_folder", {"spec.model.uri": "s3://models/fraud/1/"}),
    Example("uri_beyond_ascii", {"spec.model.uri": "s3://models/fraude-données/1/model.onnx"}),
    Example("uri_on_the_hub", {"spec.model.uri": "hf://Fraud-Team/risk_v2.1@v1.0-rc_1/onnx/model.onnx"}),
    Example("uri_of_a_whole_repository", {"spec.model.uri": f"hf://team/fraud@{'0a' * 20}/"}),
    Example("uri_of_a_branch_with_a_digest", {
        "spec.model.uri": "hf://team/fraud/model.onnx", "spec.model.sha256": "0a" * 32,
    }),
    Example("uri_of_an_image_by_tag", {"spec.model.uri": "oci://registry.example/team-a/fraud__x.y:1.0_b/1/model.onnx"}),
    Example("uri_of_an_image_by_digest", {
        "spec.model.uri": f"oci://registry:5000/fraud@sha256:{'0a' * 32}/",
        "spec.model.credentials": {"secretName": "registry"},
    }),
    Example("uri_of_a_whole_image", {"spec.model.uri": f"oci://localhost/fraud:latest@sha256:{'0a' * 32}"}),
    Example("uri_of_an_image_with_such_a_path", {"spec.model.uri": "oci://localhost:5000/fraud:1/fraud:latest/m.onnx"}),
    Example("pipeline_in_an_image", {
        "spec.model.uri": "oci://registry.example/fraud:1/", "spec.model.pipeline": [{"name": "m", "file": "m.onnx"}],
    }),
    Example("uri_of_a_claim", {"spec.model.uri": "pvc://models/fraud/1/model.onnx"}),
    Example("uri_of_a_whole_claim", {"spec.model.uri": "pvc://models.team-a/"}),
    Example("dots_in_the_path_of_a_claim", {"spec.model.uri": "pvc://models/.hidden/..data/v1..2/$(x)/模型.onnx"}),
    Example("pipeline_on_a_claim", {
        "spec.model.uri": "pvc://models/fraud/", "spec.model.pipeline": [{"name": "model", "file": "model.onnx"}],
    }),
    Example("version_by_date", {"spec.model.version": "2026-11-24"}),
    Example("version_that_holds_a_moving_name", {"spec.model.version": "main-7"}),
    Example("longest_version", {"spec.model.version": "v" * 63}),
    Example("longest_name", {"metadata.name": "f" * 52}),
    Example("fixed_number_of_pods", {"spec.autoscaling": {"minReplicas": 3}}),
    Example("maximum_equal_to_minimum", {"spec.autoscaling": {"minReplicas": 3, "maxReplicas": 3}}),
    Example("empty_parts", {"spec.resources": {}, "spec.autoscaling": {}, "spec.canary": {}}),
    Example("empty_amounts", {"spec.resources": {"requests": {}, "limits": {}}}),
    Example("empty_parts_of_the_analysis", {"spec.canary.analysis": {"errors": {}, "baseline": {}}}),
    Example("one_step", {"spec.canary.steps": _weights(100)}),
    Example("equal_weights", {"spec.canary.steps": _weights(10, 10)}),
    Example("most_steps", {"spec.canary.steps": _weights(*range(1, 21))}),
    Example("steps_without_duration", {"spec.canary.steps": [{"weightPercent": 10, "duration": "0s"}]}),
    Example("deadline_just_over_the_steps", {"spec.canary": {"steps": [STEP], "deadline": "1m1s"}}),
    Example("longest_durations", {
        "spec.canary": {"steps": [{"weightPercent": 1, "duration": "99999h"}], "deadline": "999999h"},
    }),
    Example("smallest_threshold", {_LATENCY: [{"percentile": 95, "threshold": "100us"}]}),
    Example("largest_threshold", {_LATENCY: [{"percentile": 95, "threshold": "30s"}]}),
    Example("threshold_in_parts", {_LATENCY: [{"percentile": 95, "threshold": "1s500ms"}]}),
    Example("threshold_in_another_unit", {_LATENCY: [{"percentile": 95, "threshold": "250000us"}]}),
    Example("no_percentiles", {_LATENCY: []}),
    Example("most_percentiles", {_LATENCY: _percentiles(p50="10ms", p90="50ms", p95="100ms", p99="1s")}),
    Example("percentiles_in_any_order", {_LATENCY: _percentiles(p99="1s", p50="10ms")}),
    Example("smallest_error_share", {"spec.canary.analysis.errors.threshold": "0.001%"}),
    Example("largest_error_share", {"spec.canary.analysis.errors.threshold": "99.999%"}),
    Example("smallest_tolerance", {"spec.canary.analysis.baseline.tolerance": "1"}),
    Example("whole_number_of_cores", {"spec.resources": {"requests": {"cpu": 1}, "limits": {"cpu": 2}}}),
    Example("fraction_of_a_core_as_text", {"spec.resources": {"requests": {"cpu": "0.5"}, "limits": {"cpu": "1.5"}}}),
    Example("bytes_as_a_number", {"spec.resources.limits": {"memory": 536870912}}),
    Example("requests_equal_to_limits_in_other_units", {
        "spec.resources": {"requests": {"cpu": "2000m", "memory": "1Gi"}, "limits": {"cpu": 2, "memory": "1024Mi"}},
    }),
    Example("request_without_limit", {"spec.resources": {"requests": {"cpu": "8"}, "limits": {"memory": "1Gi"}}}),
    Example("nulls_are_absent_fields", {"spec.model.sha256": None, "spec.autoscaling": None, "spec.canary": {
        "analysis": {"latency": None, "minRequests": None},
    }}),
)  # fmt: skip


def _wrong(path: str, says: str, **values: object) -> tuple[Example, ...]:
    """Wrong values of the field at `path`, by a name for each; the API server names the field and `says` so."""
    return tuple(Example(name, {path: value}, rf"{re.escape(path)}\S*: .*{says}") for name, value in values.items())


def _unknown(path: str, value: object = "") -> Example:
    """A field that is not in the schema."""
    return Example(f"unknown_field_{path}", {path: value}, rf'unknown field "{re.escape(path)}"')


def _steps(*steps: Manifest, deadline: str = "1h") -> Manifest:
    return {"steps": list(steps), "deadline": deadline}


_NEEDED: Final = "Required value"
_URI: Final = "must be s3://bucket/path, .*, oci://registry/repository:tag/path or pvc://claim/path, without spaces"
_VERSION: Final = "must name one version for good, such as 7 or 2026-11-24"
_SHARE: Final = "errors.threshold must be more than 0% and less than 100%"
_WINDOW: Final = "spec.canary.rollbackWindow"
_DEADLINE: Final = "canary.deadline must be longer than all steps together"

_STAGE: Final = {"name": "model", "file": "model.onnx"}
_FOLDER: Final = {"uri": "s3://models/fraud/1/", "version": "1"}

INVALID: Final = (
    # Fields.
    _unknown("spec.modle", {}),
    _unknown("spec.image", "somebody/else:1"),
    _unknown("spec.autoscaling.min_replicas", 2),
    _unknown("spec.canary.analysis.query", "up"),
    _unknown("spec.resources.limits.ephemeral-storage", "1Gi"),
    *_wrong("spec", _NEEDED, no_spec=ABSENT),
    *_wrong("spec.model", _NEEDED, no_model=ABSENT),
    # The model.
    *_wrong("spec.model.uri", _NEEDED, no_uri=ABSENT),
    *_wrong("spec.model.uri", "should be at least 1 chars long", empty_uri=""),
    *_wrong("spec.model.uri", "Too long: may not be more than 1024", very_long_uri="s3://models/" + "a" * 1024),
    *_wrong(
        "spec.model.uri",
        _URI,
        unknown_scheme="ftp://models/fraud/model.onnx",
        plain_http="http://models/fraud/model.onnx",
        uri_without_path="s3://models",
        uri_without_bucket="s3:///fraud/model.onnx",
        credentials_in_the_uri="https://me:secret@models/model.onnx",
        space_in_the_uri="s3://models/my model.onnx",
        line_end_in_the_uri="s3://models/model.onnx\n",
        tab_in_the_uri="s3://models/a\vb.onnx",
        name_of_a_user_in_the_uri="az://account@models/fraud/",
        repository_without_an_owner="hf://fraud/model.onnx",
        repository_without_a_path="hf://team/fraud@v1",
        revision_without_a_name="hf://team/fraud@/model.onnx",
        way_up_in_a_repository="hf://team/fraud@v1/../model.onnx",
        image_without_a_tag="oci://registry.example/fraud",
        image_without_a_tag_and_with_a_path="oci://registry.example/fraud/model.onnx",
        image_without_a_registry="oci://fraud:1",
        image_of_no_host="oci://library/fraud:1",
        image_with_capitals="oci://registry.example/Fraud:1",
        image_by_a_short_digest="oci://registry.example/fraud@sha256:0a",
        way_up_in_an_image="oci://registry.example/fraud:1/../etc/passwd",
        claim_without_a_path="pvc://models",
        claim_with_capitals="pvc://Models/model.onnx",
        way_up_on_a_claim="pvc://models/fraud/../../model.onnx",
        way_up_at_the_end="pvc://models/..",
        dot_on_a_claim="pvc://models/./model.onnx",
        empty_part_on_a_claim="pvc://models//model.onnx",
        nul_on_a_claim="pvc://models/a\0b.onnx",
    ),
    *_wrong("spec.model.version", _NEEDED, no_version=ABSENT, version_null=None),
    *_wrong("spec.model.version", _VERSION, version_latest="latest", version_shouted="LATEST", version_main="main"),
    *_wrong("spec.model.version", 'must be of type string: "integer"', version_as_a_number=7),
    *_wrong("spec.model.version", "should match", version_that_is_no_label="1/2", version_with_a_line_end="1\n"),
    *_wrong("spec.model.version", "Too long: may not be more than 63", very_long_version="v" * 64),
    *_wrong("spec.model.sha256", "should match", short_digest="9f86d081", digest_in_capitals="9F" * 32),
    Example(
        "credentials_for_a_claim",
        {"spec.model.uri": "pvc://models/1/", "spec.model.credentials": {"secretName": "s3"}},
        r"spec\.model\.credentials: .*cannot be used with pvc://, which mounts the claim as it is",
    ),
    *_wrong(
        "spec.model.uri",
        "by the tag of one version or by its digest: the tag latest moves",
        latest_image="oci://registry.example/fraud:latest",
        latest_image_with_a_path="oci://registry:5000/team/fraud:latest/model.onnx",
    ),
    *_wrong(
        "spec.model.uri",
        "needs model.sha256, or a commit or tag, as in",
        branch_main="hf://team/fraud@main/model.onnx",
        no_revision="hf://team/fraud/model.onnx",
        no_revision_of_a_whole_repository="hf://team/fraud/",
    ),
    *_wrong("spec.model.uri", "needs model.credentials for az://", azure_without_an_account="az://models/1/"),
    *_wrong("spec.model.credentials", _NEEDED, credentials_without_a_name={}),
    *_wrong("spec.model.credentials.secretName", "should match", name_of_no_object="My_Secret"),
    # Replicas and resources.
    *_wrong(
        "spec.autoscaling",
        "autoscaling.minReplicas must not be more than autoscaling.maxReplicas",
        minimum_over_maximum={"minReplicas": 3, "maxReplicas": 2},
    ),
    *_wrong("spec.autoscaling.minReplicas", "should be greater than or equal to 1", no_pods=0),
    *_wrong("spec.autoscaling.maxReplicas", "should be less than or equal to 1000", too_many_pods=1001),
    *_wrong(
        "spec.autoscaling.minReplicas",
        "must be of type integer",
        pods_as_text="3",
        half_a_pod=1.5,
        pods_as_truth=True,
    ),
    *_wrong("spec.autoscaling.targets.inFlightRequests", "greater than or equal to 1", no_requests_in_work=0),
    *_wrong("spec.autoscaling.targets.cpuUtilizationPercent", "less than or equal to 100", cpu_target_over_100=101),
    *_wrong(
        "spec.resources",
        "resources.requests.cpu must not be more than resources.limits.cpu",
        cpu_request_over_limit={"requests": {"cpu": "2"}, "limits": {"cpu": "1500m"}},
        cpu_request_over_the_default_limit={"requests": {"cpu": 2}},
    ),
    *_wrong(
        "spec.resources",
        "resources.requests.memory must not be more than resources.limits.memory",
        memory_request_over_limit={"requests": {"memory": "1Gi"}, "limits": {"memory": "1G"}},
    ),
    *_wrong(
        "spec.resources.limits.memory",
        "should match",
        quantity_with_a_space="1 Gi",
        quantity_of_an_unknown_unit="512MB",
        negative_quantity="-1Gi",
        empty_quantity="",
    ),
    *_wrong("spec.resources.requests.cpu", "should be greater than or equal to 0", negative_cores=-1),
    *_wrong("spec.resources.requests.cpu", "must be of type", fraction_as_a_number=0.5, cores_as_truth=True),
    # What holds of the service as a whole.
    *_wrong(
        "spec.suspend", "must be of type boolean", suspend_as_text="yes", suspend_as_a_number=1, truth_as_text="true"
    ),
    *_wrong("spec.revisionHistoryLimit", "should be greater than or equal to 0", negative_history=-1),
    *_wrong("spec.revisionHistoryLimit", "should be less than or equal to 100", endless_history=101),
    *_wrong("spec.revisionHistoryLimit", "must be of type integer", history_as_text="10"),
    *_wrong(
        "spec.restartedAt",
        "should match",
        restart_without_a_time="2026-11-24",
        restart_in_another_zone="2026-11-24T08:00:00+01:00",
        restart_in_words="now",
        restart_with_a_line_end="2026-11-24T08:00:00Z\n",
    ),
    # The canary.
    *_wrong(
        "spec.canary",
        "canary.steps must not fall in weight: each weightPercent is at least the one before",
        falling_weights=_steps(STEP | {"weightPercent": 50}, STEP | {"weightPercent": 25}),
    ),
    *_wrong("spec.canary.steps", "should have at least 1 items", no_steps=[]),
    *_wrong("spec.canary.steps", "Too many: 21: must have at most 20", too_many_steps=[STEP] * 21),
    *_wrong("spec.canary.steps", "should be greater than or equal to 1", weight_0=[STEP | {"weightPercent": 0}]),
    *_wrong("spec.canary.steps", "should be less than or equal to 100", weight_101=[STEP | {"weightPercent": 101}]),
    *_wrong("spec.canary.steps", _NEEDED, step_without_duration=[{"weightPercent": 5}]),
    Example(
        "unknown_field_of_a_step", {"spec.canary.steps": [STEP | {"pause": "1m"}]}, r'"spec.canary.steps\[0\].pause"'
    ),
    *_wrong("spec.canary", _DEADLINE, deadline_equal_to_the_steps=_steps(STEP, STEP, deadline="2m")),
    *_wrong("spec.canary.deadline", _DEADLINE, deadline_under_the_default_steps="10m"),
    *_wrong(
        "spec.canary.deadline",
        "should match",
        duration_without_unit="3600",
        duration_in_words="1 hour",
        duration_with_a_fraction="1.5h",
        negative_duration="-1h",
        empty_duration="",
        deadline_of_millennia="99999999999999h",
    ),
    *_wrong("spec.canary.deadline", 'must be of type string: "integer"', duration_as_a_number=3600),
    *_wrong("spec.canary.traffic.precision", 'supported values: "Approximate", "Strict"', unknown_precision="Exact"),
    *_wrong("spec.canary.promotion", 'supported values: "Automatic", "Manual"', choice_in_lower_case="manual"),
    # The analysis.
    *_wrong(f"{_ANALYSIS}.interval", "should match", interval_of_millennia="99999999999999h"),
    *_wrong(
        _LATENCY,
        "latency.threshold 260ms is not one of the bounds .*; the nearest are 250ms and 300ms",
        threshold_between_bounds=_percentiles(p95="260ms"),
    ),
    *_wrong(
        _LATENCY,
        r"the nearest are 100us\b",
        under_all_bounds=_percentiles(p95="50us"),
        threshold_0=_percentiles(p95="0s"),
    ),
    *_wrong(_LATENCY, r"the nearest are 30s\b", over_all_bounds=_percentiles(p95="1m")),
    *_wrong(
        _LATENCY,
        _NEEDED,
        latency_without_threshold=[{"percentile": 95}],
        threshold_without_percentile=[{"threshold": "1s"}],
    ),
    *_wrong(_LATENCY, "should be less than or equal to 99", percentile_100=_percentiles(p100="250ms")),
    *_wrong(_LATENCY, "Duplicate value", percentile_twice=[*_percentiles(p95="1s"), *_percentiles(p95="2s")]),
    *_wrong(
        _LATENCY,
        "a higher percentile needs a longer threshold",
        percentiles_with_one_threshold=_percentiles(p50="1s", p99="1s"),
        thresholds_that_fall=_percentiles(p99="10ms", p90="20ms"),
    ),
    *_wrong(
        _LATENCY,
        "Too many: 5: must have at most 4",
        too_many_percentiles=_percentiles(p50="1ms", p60="10ms", p70="50ms", p80="100ms", p90="1s"),
    ),
    *_wrong(f"{_ANALYSIS}.errors.threshold", _SHARE, share_0="0%", share_0_to_three_digits="0.000%", share_100="100%"),
    *_wrong(f"{_ANALYSIS}.errors.threshold", "should match", share_without_percent_sign="0.01", share_101="101%"),
    *_wrong(f"{_ANALYSIS}.baseline.tolerance", "must be at least 1, such as 1.5", tolerance_under_1="0.9"),
    *_wrong(f"{_ANALYSIS}.baseline.tolerance", 'must be of type string: "number"', tolerance_as_a_number=1.5),
    *_wrong(f"{_ANALYSIS}.minRequests", "should be greater than or equal to 1", no_requests_needed=0),
    *_wrong(f"{_WINDOW}.revisions", "should be greater than or equal to 1", window_of_no_revisions=0),
    *_wrong(f"{_WINDOW}.revisions", "should be less than or equal to 10", window_of_more_than_are_kept=11),
    *_wrong(_WINDOW, "Required value", window_without_a_size={}),
    *_wrong(
        f"{_ANALYSIS}.onInsufficientTraffic",
        'supported values: "Pause", "Promote", "Rollback"',
        unknown_choice="Wait",
    ),
    # The server.
    *_wrong("spec.server.protocols", "must hold REST", grpc_alone=["gRPC"]),
    *_wrong("spec.server.protocols", "should have at least 1 items", no_protocol=[]),
    *_wrong("spec.server.protocols", "Duplicate value", protocol_twice=["REST", "REST"]),
    *_wrong("spec.server.workers", "should match", workers_in_words="auto", workers_as_text="65", no_text="0"),
    *_wrong("spec.server.workers", "greater than or equal to 1", no_workers=0),
    *_wrong("spec.server.workers", "less than or equal to 64", too_many_workers=65),
    *_wrong("spec.server.workers", "must be of type", half_a_worker=0.5, workers_as_truth=True),
    *_wrong("spec.server.tls", _NEEDED, certificate_without_a_secret={}),
    *_wrong("spec.server.tls.secretName", "should match", certificate_of_no_object="Fraud_TLS"),
    Example(
        "certificate_behind_a_gateway",
        {"spec.server.tls": {"secretName": "fraud-tls"}, "spec.canary.traffic.mode": "GatewayAPI"},
        r"spec\.server: .*server.tls cannot go with canary.traffic.mode GatewayAPI",
    ),
    *_wrong("spec.server.batching", 'supported values: "Auto", "Off"', unknown_batching="On"),
    *_wrong(
        "spec.server.limits.maxBodySize",
        "must be a whole number of bytes from 1Ki to 1Gi",
        body_of_nearly_nothing="1023",
        body_without_bound="2Gi",
        body_of_half_bytes="5000500m",
    ),
    *_wrong("spec.server.limits.requestTimeout", "must be from 10ms to 10m", no_time="0s", very_long_request="11m"),
    # Pipelines.
    Example(
        "pipeline_of_a_file", {"spec.model.pipeline": [_STAGE]}, r"spec\.model\.uri: .*needs a model.uri that ends in /"
    ),
    *_wrong("spec.model", "should have at least 1 items", empty_pipeline=_FOLDER | {"pipeline": []}),
    *_wrong("spec.model", "Duplicate value", stage_twice=_FOLDER | {"pipeline": [_STAGE, _STAGE]}),
    *_wrong(
        "spec.model",
        "should match",
        stage_outside=_FOLDER | {"pipeline": [{"name": "model", "file": "../model.onnx"}]},
        stage_by_absolute_path=_FOLDER | {"pipeline": [{"name": "model", "file": "/etc/model.onnx"}]},
        stage_with_a_comma=_FOLDER | {"pipeline": [{"name": "model", "file": "a,b=c.onnx"}]},
        stage_with_capitals=_FOLDER | {"pipeline": [{"name": "Model", "file": "model.onnx"}]},
    ),
    # Quota and access.
    *_wrong("spec.quota", "needs requestsPerSecond beside it", burst_without_a_rate={"burst": 5}),
    *_wrong(
        "spec.quota", "quota.perClient needs access", clients_without_names={"perClient": {"requestsPerSecond": 5}}
    ),
    *_wrong("spec.quota.requestsPerSecond", "greater than or equal to 1", no_requests_at_all=0),
    *_wrong("spec.quota.requestsPerSecond", "must be of type integer", half_a_request=0.5),
    *_wrong("spec.access", _NEEDED, access_without_a_mode={}),
    *_wrong("spec.audit", _NEEDED, audit_to_nowhere={}),
    *_wrong(
        "spec.audit.url",
        "should match",
        audit_to_a_file="file:///etc/passwd",
        audit_with_credentials="https://me:secret@collector/",
    ),
    *_wrong("spec.audit", "must be more than 0%", audit_of_nothing={"url": "http://c/", "sample": "0.0%"}),
    *_wrong("spec.audit", "Duplicate value", redacted_twice={"url": "http://c/", "redact": ["a", "a"]}),
    *_wrong(
        "spec.audit", "less than or equal to 1048576", audit_of_too_much={"url": "http://c/", "maxTensorBytes": 1048577}
    ),
    *_wrong("spec.access.mode", 'supported values: "APIKey", "KubernetesToken"', unknown_access="None"),
    *_wrong("spec.access", "of the mode KubernetesToken", users_with_keys={"mode": "APIKey", "allowedUsers": ["web"]}),
    *_wrong("spec.access", "Duplicate value", user_twice={"mode": "KubernetesToken", "allowedUsers": ["a", "a"]}),
)

BAD_NAMES: Final = (
    *_wrong(
        "metadata.name",
        "",
        begins_with_a_digit="7fraud",
        holds_a_dot="fraud.risk",
        holds_capitals="Fraud",
        ends_with_a_dash="fraud-",
        is_very_long="f" * 53,
    ),
)
"""What the models of the spec know nothing of."""
