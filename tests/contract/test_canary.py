"""Rollouts on a real API server, with pods whose readiness is written by the test."""

from datetime import timedelta

import pytest

from serinus.api.status import Phase
from serinus.core.names import REVISION_LABEL, SERVICE_LABEL
from serinus.ports import MetricsUnavailableError
from tests.contract import api
from tests.contract.manifests import Manifest
from tests.contract.world import NAME, World, traffic

SHORT = [{"weightPercent": 10, "duration": "1m"}, {"weightPercent": 50, "duration": "1m"}]
CANARY = {"steps": SHORT, "analysis": {"interval": "30s"}, "deadline": "1h"}


def replicas(world: World) -> dict[str, int]:
    """Replicas of the Deployments, by model version."""
    return {
        one["metadata"]["labels"]["app.kubernetes.io/version"]: one["spec"]["replicas"]
        for one in world.objects("Deployment")
    }


def revisions(world: World) -> dict[str, str]:
    """The revisions whose templates are kept, by model version."""
    return {
        one["metadata"]["labels"]["app.kubernetes.io/version"]: one["metadata"]["labels"][REVISION_LABEL]
        for one in world.objects("ControllerRevision")
    }


def receives_requests(world: World) -> str | None:
    """The one version that the Service selects; None for all."""
    selector = world.only("Service")["spec"]["selector"]
    assert selector[SERVICE_LABEL] == NAME
    by_revision = {revision: version for version, revision in revisions(world).items()}
    return by_revision.get(selector.get(REVISION_LABEL, ""))


def test_first_deployment_has_no_canary(world: World) -> None:
    world.create({"spec.canary": CANARY, "spec.autoscaling.minReplicas": 2})
    world.settle()
    assert world.condition("Ready")["status"] == "False"
    assert world.condition("Reconciling")["status"] == "True"
    status = world.run_until(Phase.STABLE)
    assert status.canary is None
    assert replicas(world) == {"1": 2}
    assert world.condition("Ready")["status"] == "True"
    assert world.condition("Reconciling") == {}
    assert world.recorder.reasons == ["Deployed"]


def test_good_version_promoted(world: World) -> None:
    world.deploy({"spec.canary": CANARY, "spec.autoscaling.minReplicas": 4})
    stable = world.only("Deployment")
    world.edit({"spec.model.version": "2"})
    world.settle()
    assert receives_requests(world) == "1", "nothing reaches a version that is not ready"
    weights = walk(world)
    assert weights == [("1", 4, 0), (None, 4, 1), (None, 4, 4), ("2", 4, 4), ("2", 0, 4)]
    assert world.recorder.reasons == [
        "Deployed", "CanaryStarted", "StepStarted", "StepPassed", "StepStarted", "Promoting", "Promoted",
    ]  # fmt: skip
    assert replicas(world) == {"2": 4}
    assert stable["metadata"]["name"] not in [one["metadata"]["name"] for one in world.objects("Deployment")]
    assert set(revisions(world)) == {"1", "2"}, "the template of the former revision is kept"
    assert world.requests_of_a_visit() == []


def walk(world: World) -> list[tuple[str | None, int, int]]:
    """Run the rollout of version 2 to its end: who receives requests, and the ready pods of both, as it changes."""
    seen: list[tuple[str | None, int, int]] = []
    for _ in range(200):
        ready = {
            one["metadata"]["labels"]["app.kubernetes.io/version"]: one.get("status", {}).get("readyReplicas", 0)
            for one in world.objects("Deployment")
        }
        now = (receives_requests(world), ready.get("1", 0), ready.get("2", 0))
        if not seen or seen[-1] != now:
            seen.append(now)
        status = world.status()
        if status.canary is None:
            return seen
        world.make_ready()
        if not world.requests_of_a_visit():
            world.now += timedelta(seconds=30)
    raise AssertionError(f"the rollout does not end: {world.status().rollout}")


def test_failing_version_rolled_back(world: World) -> None:
    world.deploy({"spec.canary": CANARY})
    before = world.only("Deployment")
    world.edit({"spec.model.version": "2"})
    world.run_until(Phase.PROGRESSING)
    world.metrics.canary = traffic(200, errors=60)
    status = world.run_until(Phase.ROLLED_BACK)
    assert receives_requests(world) == "1"
    assert replicas(world) == {"1": 1}
    after = world.only("Deployment")
    assert (after["metadata"]["uid"], after["spec"]) == (before["metadata"]["uid"], before["spec"])
    assert [failed.version for failed in status.rollout.failed_revisions] == ["2"]
    assert world.condition("Ready")["status"] == "True"
    assert world.condition("RolloutHealthy")["reason"] == "HighErrorRate"
    assert world.condition("Stalled")["reason"] == "RolledBack"
    assert world.recorder.reasons[-2:] == ["RollingBack", "RolledBack"]
    assert world.requests_of_a_visit() == []


def test_argo_cd_reapply_stays_rolled_back(world: World) -> None:
    world.deploy({"spec.canary": CANARY})
    world.edit({"spec.model.version": "2"})
    world.run_until(Phase.PROGRESSING)
    world.metrics.canary = traffic(200, errors=60)
    world.run_until(Phase.ROLLED_BACK)
    world.edit({"metadata.labels": {"argocd": "synced"}, "spec.model.version": "2"})
    world.settle()
    assert world.status().rollout.phase is Phase.ROLLED_BACK
    assert replicas(world) == {"1": 1}


def test_crash_looping_version_rolled_back(world: World) -> None:
    world.deploy({"spec.canary": CANARY})
    world.edit({"spec.model.version": "2"})
    world.settle()
    create_crashing_pod(world, revisions(world)["2"])
    world.run_until(Phase.ROLLED_BACK)
    healthy = world.condition("RolloutHealthy")
    assert healthy["reason"] == "ModelLoadFailed"
    assert "Container server of pod crashing: ModelLoadFailed: the file is no ONNX model" in healthy["message"]


def test_long_last_words_of_a_pod_roll_it_back_all_the_same(world: World) -> None:
    """A kubelet passes up to 4096 bytes on."""
    world.deploy({"spec.canary": CANARY})
    world.edit({"spec.model.version": "2"})
    world.settle()
    create_crashing_pod(world, revisions(world)["2"], words="no ONNX model " * 290)
    status = world.run_until(Phase.ROLLED_BACK)
    assert [failed.reason for failed in status.rollout.failed_revisions] == ["ModelLoadFailed"]


def create_crashing_pod(world: World, revision: str, words: str = "the file is no ONNX model") -> None:
    """A pod of that revision as its kubelet would report it."""
    pods = f"/api/v1/namespaces/{world.namespace}/pods"
    container = {"name": "server", "image": "serinus-server:1"}
    labels = {SERVICE_LABEL: NAME, REVISION_LABEL: revision}
    api.send(
        world.server,
        "POST",
        pods,
        {"metadata": {"name": "crashing", "labels": labels}, "spec": {"containers": [container]}},
    )
    ended = {"exitCode": 1, "reason": "Error", "message": f"ModelLoadFailed: {words}"}
    state = {
        **container,
        "imageID": "",
        "ready": False,
        "restartCount": 3,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": ended},
    }
    status = {"status": {"containerStatuses": [state]}}
    api.send(world.server, "PATCH", f"{pods}/crashing/status", status, content_type=api.MERGE)


def test_revert_mid_canary_needs_no_analysis(world: World) -> None:
    world.deploy({"spec.canary": CANARY})
    before = world.only("Deployment")["metadata"]["uid"]
    world.edit({"spec.model.version": "2"})
    world.run_until(Phase.PROGRESSING)
    world.edit({"spec.model.version": "1"})
    status = world.run_until(Phase.STABLE)
    assert status.rollout.failed_revisions == ()
    assert world.only("Deployment")["metadata"]["uid"] == before
    assert receives_requests(world) == "1"


def test_third_revision_mid_canary(world: World) -> None:
    world.deploy({"spec.canary": CANARY})
    world.edit({"spec.model.version": "2"})
    world.run_until(Phase.PROGRESSING)
    world.edit({"spec.model.version": "3"})
    status = world.run_until(Phase.PROGRESSING, Phase.ROLLED_BACK)
    assert status.canary is not None
    assert (status.canary.version, status.rollout.step_index) == ("3", 0)
    assert replicas(world) == {"1": 1, "3": 1}
    assert world.run_until(Phase.STABLE).stable.version == "3"  # type: ignore[union-attr]


def test_policy_edited_mid_canary(world: World) -> None:
    world.deploy({"spec.canary": CANARY})
    world.edit({"spec.model.version": "2"})
    begun = world.run_until(Phase.PROGRESSING).rollout.policy
    assert begun is not None
    world.edit({"spec.canary": {"steps": [{"weightPercent": 100, "duration": "9m"}], "deadline": "10m"}})
    world.settle()
    after = world.status()
    assert after.rollout.policy == begun, "a rollout keeps the policy that it began with"
    assert after.rollout.phase is Phase.PROGRESSING
    assert after.observed_generation == world.service()["metadata"]["generation"]
    assert "the edited one applies to the next" in world.condition("RolloutHealthy")["message"]
    world.run_until(Phase.STABLE)
    world.edit({"spec.model.version": "3"})
    following = world.run_until(Phase.PROGRESSING).rollout.policy
    assert following is not None
    assert [step.weight_percent for step in following.steps] == [100], "the next one has the new policy"


def test_hpa_replicas_untouched_across_promotion(world: World) -> None:
    """What the autoscaler has made of the stable pods is what the new revision has when it takes over."""
    world.deploy({"spec.canary": CANARY, "spec.autoscaling": {"minReplicas": 2, "maxReplicas": 10}})
    autoscaler_scales(world, "1", 6)
    world.settle()
    assert replicas(world) == {"1": 6}
    world.edit({"spec.model.version": "2"})
    world.run_until(Phase.PROGRESSING)
    assert replicas(world) == {"1": 6, "2": 1}
    assert world.only("HorizontalPodAutoscaler")["spec"]["minReplicas"] == 6, "held while the rollout lasts"
    autoscaler_scales(world, "1", 8)
    counts = []
    while world.status().canary is not None:
        world.make_ready()
        if not world.requests_of_a_visit():
            world.now += timedelta(seconds=30)
        counts.append(replicas(world))
    assert all(count.get("1", 8) == 8 for count in counts)
    assert replicas(world) == {"2": 8}
    autoscaler = world.only("HorizontalPodAutoscaler")["spec"]
    assert (autoscaler["minReplicas"], autoscaler["maxReplicas"]) == (2, 10)
    assert autoscaler["scaleTargetRef"]["name"] == world.only("Deployment")["metadata"]["name"]
    autoscaler_scales(world, "2", 3)
    assert world.requests_of_a_visit()[1:] == [], "but for the status, nothing is written"
    assert replicas(world) == {"2": 3}


def autoscaler_scales(world: World, version: str, count: int) -> None:
    """Do what the HPA controller does."""
    [deployment] = [
        one for one in world.objects("Deployment") if one["metadata"]["labels"]["app.kubernetes.io/version"] == version
    ]
    api.patch(world.server, deployment, {"spec": {"replicas": count}}, part="scale")
    world.make_ready()


def test_a_strict_weight_is_made_by_pods(world: World) -> None:
    """A quarter of the requests is no number of canary pods beside four; it is of two beside six."""
    strict = {
        "steps": [{"weightPercent": 25, "duration": "1m"}, {"weightPercent": 50, "duration": "1m"}],
        "traffic": {"precision": "Strict"},
    }
    scaling = {"minReplicas": 4, "maxReplicas": 9}
    world.deploy({"spec.canary": CANARY | strict, "spec.autoscaling": scaling})
    world.edit({"spec.model.version": "2"})
    world.settle()
    assert replicas(world) == {"1": 6, "2": 2}
    assert world.only("HorizontalPodAutoscaler")["spec"]["minReplicas"] == 6, "or it would take them away"
    assert walk(world) == [
        ("1", 4, 0), (None, 6, 2), (None, 6, 6), ("2", 6, 6), ("2", 0, 6),
    ]  # fmt: skip
    autoscaler = world.only("HorizontalPodAutoscaler")["spec"]
    assert (autoscaler["minReplicas"], autoscaler["maxReplicas"]) == (4, 9), "which takes away what is not needed"


def test_a_strict_weight_waits_for_the_stable_pods_that_it_takes(world: World) -> None:
    strict = {"steps": [{"weightPercent": 25, "duration": "1m"}], "traffic": {"precision": "Strict"}}
    world.deploy({"spec.canary": CANARY | strict, "spec.autoscaling": {"minReplicas": 4, "maxReplicas": 9}})
    world.edit({"spec.model.version": "2"})
    world.settle()
    [canary] = [one for one in world.objects("Deployment") if one["spec"]["replicas"] == 2]
    api.patch(world.server, canary, {"status": {"replicas": 2, "readyReplicas": 2}}, part="status")
    world.settle()
    assert receives_requests(world) == "1", "two beside four would get a third of the requests"
    world.make_ready()
    world.settle()
    assert receives_requests(world) is None
    assert world.status().rollout.weight.applied == 25


def test_a_strict_weight_that_no_pods_make_is_an_invalid_spec(world: World) -> None:
    world.deploy({"spec.canary": CANARY, "spec.autoscaling.minReplicas": 4})
    world.edit({"spec.canary.traffic.precision": "Strict", "spec.model.version": "2"})
    world.settle()
    assert replicas(world) == {"1": 4}
    stalled = world.condition("Stalled")
    assert stalled["reason"] == "InvalidSpec"
    assert "step 1 asks for 10%: with 4 pods of the stable revision, which are the most, 20% is" in stalled["message"]
    world.edit({"spec.autoscaling.maxReplicas": 9})
    assert world.run_until(Phase.STABLE).stable.version == "2"  # type: ignore[union-attr]


@pytest.mark.parametrize("drift", ["canary_scaled_up", "canary_scaled_down", "stable_scaled_down", "selector"])
def test_weight_drift_reasserted(world: World, drift: str) -> None:
    """What makes the share of the requests is put back when somebody else has changed it."""
    steps = {"steps": [{"weightPercent": 40, "duration": "9m"}]}
    world.deploy({"spec.canary": CANARY | steps, "spec.autoscaling.minReplicas": 3})
    world.edit({"spec.model.version": "2"})
    world.run_until(Phase.PROGRESSING)
    assert (receives_requests(world), replicas(world)) == (None, {"1": 3, "2": 2})
    match drift:
        case "canary_scaled_up":
            autoscaler_scales(world, "2", 5)
        case "canary_scaled_down":
            autoscaler_scales(world, "2", 1)
        case "stable_scaled_down":
            autoscaler_scales(world, "1", 1)
        case "selector":
            selector = {REVISION_LABEL: revisions(world)["2"]}
            api.patch(world.server, world.only("Service"), {"spec": {"selector": selector}})
    world.settle()
    world.make_ready()
    world.settle()
    assert (receives_requests(world), replicas(world)) == (None, {"1": 3, "2": 2})
    status = world.status()
    assert (status.rollout.phase, status.rollout.weight.applied) == (Phase.PROGRESSING, 40)


@pytest.mark.parametrize("lost", ["1", "2"])
def test_a_lost_pinned_template_takes_nothing_down(world: World, lost: str) -> None:
    """ControllerRevisions look like leftovers, and get deleted by hand."""
    world.deploy({"spec.canary": CANARY})
    world.edit({"spec.model.version": "2"})
    world.run_until(Phase.PROGRESSING)
    before = {one["metadata"]["name"]: one["metadata"]["uid"] for one in world.objects("Deployment")}
    [pinned] = [
        one
        for one in world.objects("ControllerRevision")
        if one["metadata"]["labels"]["app.kubernetes.io/version"] == lost
    ]
    api.delete(world.server, pinned)
    world.settle()
    assert {one["metadata"]["name"]: one["metadata"]["uid"] for one in world.objects("Deployment")} == before
    assert set(revisions(world)) == {"1", "2"}, "it is pinned anew"


def test_prometheus_down_holds_then_resumes(world: World) -> None:
    world.deploy({"spec.canary": CANARY})
    world.edit({"spec.model.version": "2"})
    world.run_until(Phase.PROGRESSING)
    world.metrics.error = MetricsUnavailableError("Prometheus does not answer.")
    world.run_until(Phase.PAUSED)
    assert receives_requests(world) is None
    assert world.condition("MetricsAvailable")["status"] == "False"
    world.metrics.error = None
    assert world.run_until(Phase.STABLE).stable.version == "2"  # type: ignore[union-attr]


def test_conditions_turn_only_when_their_status_does(world: World) -> None:
    world.deploy({"spec.canary": CANARY})
    since = world.condition("Ready")["lastTransitionTime"]
    world.now += timedelta(hours=1)
    world.edit({"spec.autoscaling.minReplicas": 2})
    world.run_until(Phase.STABLE)
    ready: Manifest = world.condition("Ready")
    assert ready["observedGeneration"] == world.service()["metadata"]["generation"] == 2
    assert ready["lastTransitionTime"] == since
