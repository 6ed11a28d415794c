"""Visits to a service: what is written, in which order, and what becomes of faults."""

import copy
import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from serinus.config import Settings
from serinus.ports import ApiConflictError, ApiRefusedError, Manifest, NamespaceTerminatingError
from serinus.reconciler import REFUSED_RETRY, Reconciler, Result
from tests.unit.operator.fake_cluster import START, FakeClock, FakeCluster, FakeMetrics, FakeRecorder, service_of

SETTINGS = Settings.model_validate(
    {
        "server": {"image": "registry.example/serinus-server:1"},
        "prometheus": {"url": "http://prometheus:9090"},
        "tokenReview": True,
    }
)

QUICK = {
    "steps": [{"weightPercent": 50, "duration": "1m"}],
    "analysis": {"interval": "30s", "latency": [{"percentile": 90, "threshold": "100ms"}]},
}


DEFAULTS: dict[str, Any] = {"canary": QUICK, "autoscaling": {"minReplicas": 2}}


class Bench:
    """An operator and its world."""

    def __init__(self, **spec: Any) -> None:  # noqa: ANN401 - parts of a spec
        self.cluster = FakeCluster(service_of("1", **DEFAULTS | spec))
        self.metrics, self.recorder, self.clock = FakeMetrics(), FakeRecorder(), FakeClock()
        self.restart()

    def restart(self) -> None:
        """A new operator: what is not in the cluster is forgotten."""
        self.reconciler = Reconciler(self.cluster, self.metrics, self.recorder, SETTINGS, self.clock)

    def visit(self) -> Result:
        self.cluster.bring_up_pods()
        return self.reconciler.reconcile(self.cluster.seen(), self.cluster.children())

    def settle(self) -> Result:
        """Visit until there is nothing more to write; what the last visit came to."""
        for _ in range(20):
            before = len(self.cluster.calls)
            result = self.visit()
            if len(self.cluster.calls) == before:
                return result
        raise AssertionError(f"does not come to rest: {self.cluster.calls[-5:]}")

    def run_until(self, phase: str, reason: str | None = None, visits: int = 60) -> None:
        for _ in range(visits):
            result = self.settle()
            if self.phase == phase and reason in (None, self.cluster.status["rollout"]["reason"]):
                return
            self.clock.now += result.again_after or timedelta(seconds=1)
        raise AssertionError(f"not {phase}: {self.cluster.status['rollout']}")

    @property
    def phase(self) -> str:
        return str(self.cluster.status["rollout"]["phase"])

    def children(self) -> dict[tuple[str, str], Manifest]:
        """The children without what differs from one run to the next."""
        found = copy.deepcopy(self.cluster.objects)
        for manifest in found.values():
            manifest["metadata"].pop("resourceVersion")
        return found


def deployed(**spec: Any) -> Bench:  # noqa: ANN401 - parts of a spec
    bench = Bench(**spec)
    bench.run_until("Stable")
    bench.cluster.take_calls()
    bench.recorder.told.clear()
    return bench


def mid_canary() -> Bench:
    """A rollout from version 1 to version 2 whose first look is due."""
    bench = deployed()
    bench.cluster.ask("2")
    bench.run_until("Progressing")
    bench.clock.pass_by(30)
    bench.cluster.take_calls()
    return bench


# The order of things.


def test_the_intent_is_written_before_anything_is_done_about_it() -> None:
    bench = Bench()
    bench.visit()
    (name,) = (name for kind, name in bench.cluster.objects if kind == "Deployment")
    assert bench.cluster.take_calls() == [
        "status",
        "apply ConfigMap fraud-policy",
        f"apply ControllerRevision {name}",
        f"apply Deployment {name}",
        "apply Service fraud",
        "apply PodDisruptionBudget fraud",
    ]
    assert bench.cluster.objects["Deployment", name]["spec"]["replicas"] == 2


def test_in_every_visit_of_a_rollout_the_status_comes_first() -> None:
    bench = deployed()
    bench.cluster.ask("2")
    for _ in range(20):
        result = bench.visit()
        calls = bench.cluster.take_calls()
        assert calls.count("status") <= 1
        assert "status" not in calls[1:]
        if not calls:
            bench.clock.now += result.again_after or timedelta(seconds=1)
    assert bench.phase == "Stable"
    assert bench.cluster.status["stable"]["version"] == "2"


def test_nothing_is_done_when_the_status_cannot_be_written() -> None:
    bench = deployed()
    bench.cluster.ask("2")
    stale = bench.cluster.seen()
    bench.cluster.edit(autoscaling={"minReplicas": 3})
    with pytest.raises(ApiConflictError):
        bench.reconciler.reconcile(stale, bench.cluster.children())
    assert bench.cluster.take_calls() == ["status"]
    assert bench.recorder.told == []


def test_events_are_told_once_when_what_they_tell_is_written() -> None:
    bench = deployed()
    bench.cluster.ask("2")
    bench.cluster.failures["status"] = ConnectionError("reset")
    for _ in range(3):
        with pytest.raises(ConnectionError):
            bench.visit()
    assert bench.recorder.told == []
    bench.cluster.failures.clear()
    bench.settle()
    assert bench.recorder.reasons.count("CanaryStarted") == 1


# Rest.


@pytest.mark.parametrize("phase", ["Stable", "Progressing", "RolledBack"])
def test_second_reconcile_writes_nothing(phase: str) -> None:
    bench = deployed(autoscaling={"minReplicas": 2, "maxReplicas": 5})
    bench.cluster.unready = {"2"} if phase == "RolledBack" else set()
    if phase != "Stable":
        bench.cluster.ask("2")
        bench.run_until(phase)
    bench.cluster.take_calls()
    told = list(bench.recorder.told)
    for _ in range(3):
        assert bench.visit().written is None
    bench.restart()
    assert bench.visit().written is None
    assert bench.cluster.take_calls() == []
    assert bench.recorder.told == told


def test_no_op_resync_makes_no_api_call_and_asks_for_no_metrics() -> None:
    bench = mid_canary()
    bench.visit()
    bench.cluster.take_calls()
    queries = len(bench.metrics.queries)
    for _ in range(3):
        bench.visit()
    assert bench.cluster.take_calls() == []
    assert len(bench.metrics.queries) == queries


def test_inputs_not_mutated() -> None:
    bench = mid_canary()
    bench.cluster.bring_up_pods()
    service, children = bench.cluster.seen(), bench.cluster.children()
    before = copy.deepcopy((service, children))
    bench.reconciler.reconcile(service, children)
    assert (service, children) == before


def test_no_annotations_or_finalizers_on_the_users_object() -> None:
    bench = Bench()
    spec, metadata = copy.deepcopy(bench.cluster.service["spec"]), set(bench.cluster.service["metadata"])
    bench.run_until("Stable")
    assert bench.cluster.service["spec"] == spec
    assert set(bench.cluster.service["metadata"]) == metadata
    assert not any("InferenceService" in call for call in bench.cluster.calls)


def test_the_written_service_is_handed_back() -> None:
    bench = Bench()
    written = bench.visit().written
    assert written == bench.cluster.seen()


def test_a_service_that_is_being_deleted_is_left_alone() -> None:
    bench = deployed()
    bench.cluster.objects.clear()
    bench.cluster.service["metadata"]["deletionTimestamp"] = "2026-03-01T03:00:00Z"
    assert bench.visit() == Result()
    assert bench.cluster.take_calls() == []


# Whole rollouts.


def test_good_version_promoted() -> None:
    bench = deployed(autoscaling={"minReplicas": 2, "maxReplicas": 5})
    bench.cluster.ask("2")
    bench.run_until("Stable", "Promoted")
    assert bench.cluster.status["stable"]["version"] == "2"
    new = bench.cluster.revision_of("2")
    assert [name for kind, name in bench.cluster.objects if kind == "Deployment"] == [f"fraud-{new}"]
    autoscaler = bench.cluster.objects["HorizontalPodAutoscaler", "fraud"]
    assert autoscaler["spec"]["scaleTargetRef"]["name"] == f"fraud-{new}"
    assert sorted(name for kind, name in bench.cluster.objects if kind == "ControllerRevision") == sorted(
        [f"fraud-{new}", f"fraud-{bench.cluster.revision_of('1')}"]
    )


def test_failing_version_rolled_back() -> None:
    bench = mid_canary()
    before = bench.cluster.revision_of("1")
    bench.metrics.failing[bench.cluster.revision_of("2")] = 0.3
    bench.run_until("RolledBack")
    assert [name for kind, name in bench.cluster.objects if kind == "Deployment"] == [f"fraud-{before}"]
    assert bench.cluster.objects["Service", "fraud"]["spec"]["selector"]["serinus.dev/revision"] == before
    stalled = bench.cluster.condition("Stalled")
    assert stalled is not None
    assert stalled["reason"] == "RolledBack"


def test_a_command_by_annotation_is_obeyed_once() -> None:
    bench = mid_canary()
    bench.cluster.annotate(f"c1:abort:{bench.cluster.revision_of('2')}")
    bench.run_until("RolledBack")
    assert bench.cluster.status["rollout"]["lastCommand"] == "c1"
    assert bench.recorder.reasons.count("RollingBack") == 1


@pytest.mark.parametrize("command", ["promote", "c1:destroy:0a", "c1:abort:"])
def test_an_annotation_that_is_no_command_is_told_of_once(command: str) -> None:
    bench = deployed()
    bench.cluster.annotate(command)
    bench.visit()
    assert bench.cluster.take_calls() == ["status"]
    assert bench.recorder.reasons.count("InvalidCommand") == 1
    bench.visit()
    assert bench.cluster.take_calls() == []
    assert bench.recorder.reasons.count("InvalidCommand") == 1


def test_an_empty_annotation_is_none() -> None:
    bench = deployed()
    bench.cluster.annotate("")
    bench.visit()
    assert bench.cluster.take_calls() == []


def test_drift_is_reverted() -> None:
    bench = deployed()
    bench.cluster.objects["Service", "fraud"]["spec"]["ports"][0]["port"] = 81
    bench.settle()
    assert bench.cluster.take_calls() == ["apply Service fraud"]


def test_two_services_do_not_touch_each_other() -> None:
    bench = deployed()
    other = "22222222-0000-0000-0000-000000000000"
    foreign = copy.deepcopy(bench.cluster.objects["Service", "fraud"])
    foreign["metadata"] |= {"name": "other", "ownerReferences": [{"uid": other, "controller": True}]}
    bench.cluster.objects["Service", "other"] = foreign
    bench.settle()
    assert bench.cluster.take_calls() == []


def test_a_platform_that_lets_no_pod_ask_about_tokens_says_so_and_leaves_what_runs() -> None:
    bench = deployed()
    before = bench.children()
    bench.reconciler = Reconciler(
        bench.cluster, bench.metrics, bench.recorder, SETTINGS.model_copy(update={"token_review": False}), bench.clock
    )
    bench.cluster.edit(access={"mode": "KubernetesToken"})
    bench.settle()
    assert bench.children() == before
    told = bench.cluster.condition("Ready")
    assert told is not None
    assert told["reason"] == "InvalidSpec"
    assert "tokenReview.enabled of the chart" in told["message"]


def upgraded(bench: Bench, image: str = "registry.example/serinus-server:2") -> Bench:
    """The same service under an operator whose pods would run another image."""
    settings = Settings.model_validate({"server": {"image": image}, "prometheus": {"url": "http://p"}})
    bench.reconciler = Reconciler(bench.cluster, bench.metrics, bench.recorder, settings, bench.clock)
    return bench


def test_an_upgrade_of_the_operator_restarts_no_pod_and_says_what_is_due() -> None:
    bench = deployed()
    before = bench.children()
    upgraded(bench).settle()
    assert bench.cluster.take_calls() == ["status"]
    assert bench.children() == before
    told = bench.cluster.condition("TemplateUpToDate")
    assert told is not None
    assert (told["status"], told["reason"]) == ("False", "TemplateChanged")
    change = "image: registry.example/serinus-server:1 -> registry.example/serinus-server:2"
    assert f"spec.initContainers[fetch].{change}; spec.containers[server].{change}." in told["message"]
    assert "kubectl patch infsvc fraud -n risk" in told["message"]
    assert bench.recorder.told == []


def test_a_restart_takes_the_new_template_through_the_canary() -> None:
    bench = deployed()
    old = bench.cluster.revision_of("1")
    upgraded(bench).settle()
    bench.cluster.edit(restartedAt="2026-03-01T03:00:00Z")
    bench.run_until("Progressing")
    images = {
        name: one["spec"]["template"]["spec"]["containers"][0]["image"]
        for (kind, name), one in bench.cluster.objects.items()
        if kind == "Deployment"
    }
    (new,) = images.keys() - {f"fraud-{old}"}
    assert images == {f"fraud-{old}": "registry.example/serinus-server:1", new: "registry.example/serinus-server:2"}
    bench.run_until("Stable", "Promoted")
    told = bench.cluster.condition("TemplateUpToDate")
    assert told is not None
    assert told["status"] == "True"


def test_a_new_template_that_fails_is_rolled_back_like_a_version() -> None:
    bench = deployed()
    old = bench.cluster.revision_of("1")
    upgraded(bench).settle()
    bench.cluster.edit(restartedAt="2026-03-01T03:00:00Z")
    bench.run_until("Progressing")
    bench.metrics.failing[bench.cluster.status["canary"]["revision"]] = 0.3
    bench.run_until("RolledBack")
    assert [name for kind, name in bench.cluster.objects if kind == "Deployment"] == [f"fraud-{old}"]
    told = bench.cluster.condition("TemplateUpToDate")
    assert told is not None
    assert told["status"] == "Unknown"


def test_an_operator_that_is_downgraded_again_has_nothing_due() -> None:
    bench = deployed()
    before = copy.deepcopy(bench.cluster.status)
    upgraded(bench).settle()
    bench.restart()
    bench.settle()
    assert bench.cluster.status == before


# A spec that cannot be read.

INVALID: dict[str, Any] = {"uri": "ftp://models/2.onnx", "version": "latest"}


def test_invalid_spec_leaves_the_running_version_untouched() -> None:
    bench = deployed()
    before = bench.children()
    bench.cluster.edit(model=INVALID)
    bench.settle()
    assert bench.cluster.take_calls() == ["status"]
    assert bench.children() == before
    ready = bench.cluster.condition("Ready")
    assert ready is not None
    assert (ready["status"], ready["reason"], ready["observedGeneration"]) == ("False", "InvalidSpec", 2)
    assert "spec.model.uri: Value error, must be s3://" in ready["message"]
    assert "spec.model.version: Value error, must name one version" in ready["message"]
    assert "The version deployed before keeps serving." in ready["message"]
    assert bench.cluster.status["observedGeneration"] == 2
    assert bench.cluster.status["stable"]["version"] == "1"


def test_invalid_then_fixed_spec_recovers() -> None:
    bench = deployed()
    healthy = bench.cluster.condition("RolloutHealthy")
    bench.clock.pass_by(60)
    bench.cluster.edit(model=INVALID)
    bench.settle()
    assert bench.cluster.condition("RolloutHealthy") == healthy
    bench.clock.pass_by(60)
    bench.cluster.ask("1")
    bench.settle()
    assert bench.cluster.condition("Stalled") is None
    assert bench.phase == "Stable"
    ready, after = bench.cluster.condition("Ready"), bench.cluster.condition("RolloutHealthy")
    assert ready is not None
    assert healthy is not None
    assert after is not None
    assert ready["status"] == "True"
    assert after["lastTransitionTime"] == healthy["lastTransitionTime"]


def test_invalid_from_the_start_makes_nothing() -> None:
    bench = Bench(model=INVALID)
    bench.settle()
    assert bench.cluster.take_calls() == ["status"]
    ready = bench.cluster.condition("Ready")
    assert ready is not None
    assert "keeps serving" not in ready["message"]
    bench.cluster.ask("1")
    bench.run_until("Stable")


def test_a_rollout_stands_still_while_the_spec_is_invalid() -> None:
    bench = mid_canary()
    rollout = copy.deepcopy(bench.cluster.status["rollout"])
    bench.cluster.edit(model=INVALID)
    bench.clock.pass_by(7200)
    bench.settle()
    assert bench.cluster.status["rollout"] == rollout


# Writes that are refused.

DENIED = ApiRefusedError("PATCH services/fraud: admission webhook said no")


def test_refused_writes_are_reported_and_tried_again() -> None:
    bench = Bench()
    bench.cluster.failures["apply Service"] = DENIED
    assert bench.visit().again_after == timedelta()
    assert bench.visit().again_after == REFUSED_RETRY
    stalled = bench.cluster.condition("Stalled")
    assert stalled is not None
    assert (stalled["reason"], stalled["message"]) == ("WriteRefused", str(DENIED))
    assert bench.visit().again_after == REFUSED_RETRY
    refusals = [one for one in bench.recorder.told if one[1] == "WriteRefused"]
    assert refusals == [("Warning", "WriteRefused", str(DENIED))]


def test_what_is_refused_no_longer_is_reported_no_longer() -> None:
    bench = Bench()
    bench.cluster.failures["apply Service"] = DENIED
    bench.visit()
    bench.visit()
    bench.cluster.failures.clear()
    assert bench.visit().again_after == timedelta()
    bench.run_until("Stable")
    assert bench.cluster.condition("Stalled") is None


def _mirror(manifest: Manifest) -> None:
    if manifest["kind"] == "Deployment":
        manifest["spec"]["template"]["spec"]["containers"][0]["image"] = "mirror.example/s:1"


def test_a_webhook_that_changes_what_is_applied_is_told_and_not_fought() -> None:
    """Each of the two would see the other's write, and write again. The service itself goes on."""
    bench = Bench()
    bench.cluster.webhook = _mirror
    bench.run_until("Stable")
    stalled = bench.cluster.condition("Stalled")
    assert stalled is not None
    deployment = f"Deployment fraud-{bench.cluster.revision_of('1')}"
    assert stalled["message"] == (
        f"{deployment} is not kept as it is applied: an admission webhook of the cluster changes it. Ask those who run "
        "it to leave that field alone."
    )
    bench.cluster.take_calls()
    assert bench.visit().again_after == REFUSED_RETRY
    assert bench.cluster.take_calls() == []
    bench.cluster.edit(autoscaling={"minReplicas": 5})
    bench.settle()
    assert [call for call in bench.cluster.take_calls() if call.startswith("scale")] != []
    bench.cluster.webhook = lambda _: None
    bench.clock.now += REFUSED_RETRY
    bench.settle()
    assert f"apply {deployment}" in bench.cluster.take_calls()
    assert bench.cluster.condition("Stalled") is None


def test_one_refused_write_does_not_hold_up_the_others() -> None:
    bench = mid_canary()
    new = bench.cluster.revision_of("2")
    bench.cluster.objects["Deployment", f"fraud-{new}"]["spec"]["progressDeadlineSeconds"] = 1
    bench.cluster.failures[f"apply Deployment fraud-{new}"] = DENIED
    bench.metrics.failing[new] = 0.3
    bench.run_until("RolledBack")
    assert ("Deployment", f"fraud-{new}") not in bench.cluster.objects
    assert bench.cluster.objects["Service", "fraud"]["spec"]["selector"]["serinus.dev/revision"] != new


def test_what_a_terminating_namespace_refuses_is_told_and_not_tried_again() -> None:
    bench = Bench()
    bench.cluster.failures["apply"] = NamespaceTerminatingError("because it is being terminated")
    assert bench.visit().again_after == timedelta()
    assert bench.visit().again_after is None
    assert bench.cluster.take_calls() == ["status", "status"]
    stalled = bench.cluster.condition("Stalled")
    assert stalled is not None
    assert stalled["message"] == "Namespace risk is being deleted: nothing is created in it."
    assert bench.recorder.told == [], "an event could not be created there either"
    assert bench.visit().again_after is None
    assert bench.cluster.take_calls() == []


def test_what_could_not_be_made_is_not_scaled() -> None:
    bench = Bench()
    bench.cluster.failures["apply Deployment"] = ApiRefusedError("exceeded quota")
    bench.visit()
    assert not any(call.startswith("scale") for call in bench.cluster.take_calls())
    assert bench.recorder.reasons == ["WriteRefused"]


def test_an_object_of_somebody_else_is_left_alone_and_named() -> None:
    bench = Bench()
    bench.cluster.objects["Service", "fraud"] = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "fraud", "namespace": "risk", "uid": "9"},
        "spec": {"selector": {"app": "theirs"}},
    }
    bench.visit()
    bench.visit()
    assert bench.cluster.objects["Service", "fraud"]["spec"] == {"selector": {"app": "theirs"}}
    stalled = bench.cluster.condition("Stalled")
    assert stalled is not None
    assert "Service fraud is there already and belongs to somebody else; rename" in stalled["message"]


def test_a_conflict_on_an_object_of_ours_means_to_look_again() -> None:
    bench = deployed()
    bench.cluster.objects["Service", "fraud"]["spec"]["ports"][0]["port"] = 81
    bench.cluster.failures["apply Service"] = ApiConflictError("modified")
    with pytest.raises(ApiConflictError):
        bench.visit()
    assert bench.recorder.told == []


@pytest.mark.parametrize("by", ["forgetting", "another uid"])
def test_a_service_made_anew_is_not_told_of_the_refusals_of_the_old(by: str) -> None:
    bench = Bench()
    bench.cluster.failures["apply Service"] = DENIED
    bench.visit()
    bench.visit()
    bench.cluster.failures.clear()
    bench.cluster.objects.clear()
    if by == "forgetting":
        bench.reconciler.forget("risk", "fraud")
        bench.cluster.service = service_of("1")
    else:
        bench.cluster.service = service_of("1", uid="33333333-0000-0000-0000-000000000000")
    bench.visit()
    assert bench.cluster.condition("Stalled") is None


def test_nothing_is_remembered_of_a_service_that_is_gone() -> None:
    bench = Bench()
    bench.cluster.failures["apply Service"] = DENIED
    bench.visit()
    bench.reconciler.forget("risk", "fraud")
    bench.reconciler.forget("risk", "fraud")
    assert not bench.reconciler._memories


# The metrics.


def test_a_look_asks_for_what_the_policy_needs() -> None:
    bench = mid_canary()
    bench.visit()
    (query,) = bench.metrics.queries
    assert (query.namespace, query.service) == ("risk", "fraud")
    assert query.ready_pods == {bench.cluster.revision_of("1"): 2, bench.cluster.revision_of("2"): 2}
    assert (query.since, query.now) == (None, bench.clock.now)
    assert (query.interval, query.latency_thresholds) == (timedelta(seconds=30), {90: 0.1})
    before = bench.clock.now
    bench.clock.pass_by(30)
    bench.visit()
    assert bench.metrics.queries[1].since == before


def test_no_look_is_taken_before_it_is_due() -> None:
    bench = mid_canary()
    bench.clock.pass_by(-1)
    bench.visit()
    assert bench.metrics.queries == []


def test_metrics_that_are_away_are_told_and_hold_the_rollout() -> None:
    bench = mid_canary()
    bench.metrics.failure = "Prometheus cannot be asked."
    result = bench.settle()
    available = bench.cluster.condition("MetricsAvailable")
    assert available is not None
    assert (available["status"], available["reason"]) == ("False", "QueryFailed")
    assert bench.phase == "Progressing"
    assert result.again_after == timedelta(seconds=30)
    bench.metrics.failure = None
    bench.clock.pass_by(30)
    bench.settle()
    available = bench.cluster.condition("MetricsAvailable")
    assert available is not None
    assert available["status"] == "True"


def test_a_look_that_failed_stands_until_the_next_interval() -> None:
    """A message that says how long ago something was must not have the status written at every visit."""
    bench = mid_canary()
    for seconds in range(30):
        bench.metrics.failure = f"Its newest sample is {seconds} s old."
        bench.visit()
        bench.clock.pass_by(1)
    assert len(bench.metrics.queries) == 1
    assert bench.cluster.take_calls() == ["status"]
    bench.visit()
    assert len(bench.metrics.queries) == 2


def test_a_clock_that_steps_back_does_not_stop_the_looks() -> None:
    bench = mid_canary()
    bench.metrics.failure = "Prometheus cannot be asked."
    bench.visit()
    bench.clock.pass_by(-600)
    bench.run_until("Progressing")
    bench.metrics.failure = None
    bench.run_until("Stable", "Promoted", visits=2000)
    assert bench.cluster.status["stable"]["version"] == "2"


# Death at any moment.


class KilledError(BaseException):
    """The process ends here."""


ENDS = {"good": ("Stable", "Promoted"), "bad": ("RolledBack", "HighErrorRate")}


def story(bench: Bench, version: str) -> None:
    bench.cluster.ask("2")
    bench.run_until(*ENDS[version])


def told_of(bench: Bench) -> tuple[dict[tuple[str, str], Manifest], Any]:
    status = bench.cluster.status
    return bench.children(), (status["stable"], bench.phase, status["rollout"]["reason"], status["replicas"])


@pytest.mark.parametrize("version", ENDS)
def test_operator_killed_before_and_after_every_write(version: str) -> None:
    """Wherever the operator dies, the next one ends up where an undisturbed one does."""
    new = mid_canary().cluster.revision_of("2")

    def prepared() -> Bench:
        bench = deployed()
        bench.metrics.failing[new] = 0.3 if version == "bad" else 0.0
        return bench

    undisturbed, moments = prepared(), itertools.count()
    undisturbed.cluster.interrupt(lambda: next(moments))
    story(undisturbed, version)
    number = next(moments)
    assert number > 20
    for moment in range(number):
        bench = prepared()
        bench.cluster.interrupt(killer(moment))
        with pytest.raises(KilledError):
            story(bench, version)
        bench.restart()
        bench.run_until(*ENDS[version])
        assert told_of(bench) == told_of(undisturbed), f"killed at write {moment}"


def killer(moment: int) -> Callable[[], None]:
    left = iter([*[False] * moment, True])

    def kill() -> None:
        if next(left, False):
            raise KilledError

    return kill


def test_first_state_begins_now() -> None:
    bench = Bench()
    bench.visit()
    assert bench.cluster.status["rollout"]["stageStartedAt"] == START.isoformat().replace("+00:00", "Z")
