"""What the kubelet says of pods, and what is made of it."""

from dataclasses import dataclass
from typing import Any

import pytest

from serinus.core.names import REVISION_LABEL, SERVICE_LABEL
from serinus.core.observe import Children, Observed, PodFailure, Workload, is_owned, observe, pod_failure

UID = "11111111-0000-0000-0000-000000000000"


def terminated(code: int, reason: str, message: str | None = None) -> dict[str, Any]:
    said = {} if message is None else {"message": message}
    times = {"startedAt": "2026-03-01T03:00:00Z", "finishedAt": "2026-03-01T03:00:05Z"}
    return {"terminated": {"exitCode": code, "reason": reason, "containerID": "containerd://a", **times, **said}}


def waiting(reason: str, message: str | None = None) -> dict[str, Any]:
    said = {} if message is None else {"message": message}
    return {"waiting": {"reason": reason, **said}}


RUNNING: dict[str, Any] = {"running": {"startedAt": "2026-03-01T03:00:00Z"}}
BACK_OFF = waiting("CrashLoopBackOff", "back-off 10s restarting failed container=server pod=fraud-x_risk(1)")


def container(
    name: str, state: dict[str, Any], last: dict[str, Any] | None = None, *, ready: bool = False
) -> dict[str, Any]:
    restarts = 1 if last else 0
    return {"name": name, "ready": ready, "restartCount": restarts, "state": state, "lastState": last or {}}


FETCHED = container("fetch", terminated(0, "Completed"), ready=True)
TO_COME = container("server", waiting("PodInitializing"))


def pod(
    *containers: dict[str, Any], init: dict[str, Any] | None = FETCHED, name: str = "fraud-x", revision: str = "aaa"
) -> dict[str, Any]:
    return {
        "kind": "Pod",
        "metadata": {"name": name, "labels": {SERVICE_LABEL: "fraud", REVISION_LABEL: revision}},
        "status": {"initContainerStatuses": [init] if init else [], "containerStatuses": list(containers)},
    }


@dataclass(frozen=True)
class Case:
    pod: dict[str, Any]
    reason: str | None
    """None: not a failure."""
    container: str = "server"
    message: str = ""


DIGEST = "DigestMismatch: s3://models/7.onnx has sha256 00, expected 11"

CASES = {
    # On its way, or well.
    "not_yet_scheduled": Case({"metadata": {"name": "fraud-x"}, "status": {}}, None),
    "seen_before_its_status": Case({"metadata": {"name": "fraud-x"}}, None),
    "fetching": Case(pod(TO_COME, init=container("fetch", RUNNING)), None),
    "creating": Case(pod(container("server", waiting("ContainerCreating"))), None),
    "loading": Case(pod(container("server", RUNNING)), None),
    "serving": Case(pod(container("server", RUNNING, ready=True)), None),
    "serving_after_a_crash": Case(pod(container("server", RUNNING, terminated(1, "Error"), ready=True)), None),
    "serving_after_an_oom_kill": Case(
        pod(container("server", RUNNING, terminated(137, "OOMKilled"), ready=True)), None
    ),
    "fetched_at_the_second_try": Case(
        pod(container("server", RUNNING), init=container("fetch", terminated(0, "Completed"), terminated(17, "Error"))),
        None,
    ),
    "ended_once": Case(pod(container("server", terminated(1, "Error"))), None),
    "ended_well": Case(pod(container("server", terminated(0, "Completed"))), None),
    "evicted": Case(pod(container("server", terminated(137, "ContainerStatusUnknown"))), None),
    "fetch_that_may_yet_succeed": Case(
        pod(TO_COME, init=container("fetch", terminated(13, "Error", "Unreachable: models.example: timed out"))), None
    ),
    "image_pull_that_failed_once": Case(pod(container("server", waiting("ErrImagePull", "timeout"))), None),
    # The image.
    "image_that_is_not_there": Case(
        pod(container("server", waiting("ImagePullBackOff", 'Back-off pulling image "x:1"'))),
        "ImagePullBackOff",
        message='Back-off pulling image "x:1"',
    ),
    "image_of_the_fetch_that_is_not_there": Case(
        pod(TO_COME, init=container("fetch", waiting("ImagePullBackOff", "Back-off"))),
        "ImagePullBackOff",
        "fetch",
        "Back-off",
    ),
    "image_that_is_never_pulled": Case(pod(container("server", waiting("ErrImageNeverPull"))), "ErrImageNeverPull"),
    "image_without_a_name": Case(pod(container("server", waiting("InvalidImageName"))), "InvalidImageName"),
    # The container.
    "certificate_that_has_expired": Case(
        pod(
            container(
                "server", terminated(25, "Error", "InvalidCertificate: /etc/serinus/tls/fraud-tls/..1/tls.crt has")
            )
        ),
        "InvalidCertificate",
        message="/etc/serinus/tls/fraud-tls/",
    ),
    "secret_that_is_missing": Case(
        pod(TO_COME, init=container("fetch", waiting("CreateContainerConfigError", 'secret "models-s3" not found'))),
        "CreateContainerConfigError",
        "fetch",
        'secret "models-s3" not found',
    ),
    "container_that_cannot_be_created": Case(
        pod(container("server", waiting("CreateContainerError", "no command"))), "CreateContainerError", message="no c"
    ),
    "container_that_cannot_be_created_time_and_again": Case(
        pod(container("server", waiting("CreateContainerError", f'failed to generate container "{"0a" * 32}" spec'))),
        "CreateContainerError",
        message="failed to generate container spec",
    ),
    "container_that_cannot_be_run": Case(
        pod(container("server", waiting("RunContainerError", "exec: not found"))), "RunContainerError", message="exec"
    ),
    # The program.
    "crash_looping": Case(
        pod(container("server", BACK_OFF, terminated(3, "Error"))),
        "CrashLoopBackOff",
        message="exits with code 3 again and again: its log says more",
    ),
    "crash_looping_with_last_words": Case(
        pod(container("server", BACK_OFF, terminated(17, "Error", "TransferFailed: reset by peer\n"))),
        "TransferFailed",
        message="exits with code 17 again and again: reset by peer",
    ),
    "crash_looping_with_words_of_no_form": Case(
        pod(container("server", BACK_OFF, terminated(1, "Error", "Traceback (most recent call last): ..."))),
        "CrashLoopBackOff",
    ),
    "last_words_that_no_condition_takes": Case(
        pod(container("server", BACK_OFF, terminated(1, "Error", f"{'X' * 65}: too long for a reason"))),
        "CrashLoopBackOff",
    ),
    "last_words_beyond_ascii": Case(
        pod(container("server", BACK_OFF, terminated(1, "Error", "Übel: it went wrong"))), "CrashLoopBackOff"
    ),
    "crash_loop_of_which_the_end_is_forgotten": Case(
        pod(container("server", BACK_OFF)), "CrashLoopBackOff", message="back-off 10s"
    ),
    "killed_for_its_memory": Case(
        pod(container("server", terminated(137, "OOMKilled"))), "OOMKilled", message="more memory than its limit"
    ),
    "started_again_after_an_oom_kill": Case(
        pod(container("server", RUNNING, terminated(137, "OOMKilled"))), "OOMKilled"
    ),
    "waiting_after_an_oom_kill": Case(pod(container("server", BACK_OFF, terminated(137, "OOMKilled"))), "OOMKilled"),
    # The model.
    "model_with_another_digest": Case(
        pod(TO_COME, init=container("fetch", terminated(14, "Error", DIGEST))),
        "DigestMismatch",
        "fetch",
        "s3://models/7.onnx has sha256 00, expected 11",
    ),
    "model_with_another_digest_tried_again": Case(
        pod(TO_COME, init=container("fetch", RUNNING, terminated(14, "Error", DIGEST))), "DigestMismatch", "fetch"
    ),
    "model_that_is_not_there": Case(
        pod(TO_COME, init=container("fetch", BACK_OFF, terminated(11, "Error", "NotFound: there is no object"))),
        "NotFound",
        "fetch",
        "there is no object",
    ),
    "model_that_does_not_load": Case(
        pod(container("server", terminated(21, "Error", "ModelLoadFailed: model.onnx is empty"))),
        "ModelLoadFailed",
        message="model.onnx is empty",
    ),
    "word_of_a_failure_from_a_process_that_ended_well": Case(
        pod(container("server", terminated(0, "Completed", DIGEST))), None
    ),
}


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])
def test_pod_failure(case: Case) -> None:
    failure = pod_failure(case.pod)
    if case.reason is None:
        assert failure is None
        return
    assert failure is not None
    assert (failure.pod, failure.container, failure.reason) == ("fraud-x", case.container, case.reason)
    assert case.message in failure.message


@pytest.mark.parametrize(
    ("reason", "told", "advice"),
    [
        ("ImagePullBackOff", "Back-off pulling image", "The image is the platform's choice: ask its team"),
        (
            "CreateContainerConfigError",
            'secret "s3" not found',
            "See that the Secrets that spec.model.credentials and spec.server.tls name are there",
        ),
        (
            "InvalidCertificate",
            "tls.crt has expired",
            "the Secret that spec.server.tls names: tls.crt and tls.key.",
        ),
        ("AccessDenied", "403", "holds credentials that may read the model."),
        ("NotFound", "there is no object.", "Correct spec.model.uri, or put the model there."),
        ("OOMKilled", "killed", "Raise spec.resources.limits.memory."),
        ("CrashLoopBackOff", "exits with code 3", "See `kubectl logs fraud-x -c server --previous`."),
        ("ModelLoadFailed", "model.onnx is empty", ""),
    ],
)
def test_a_failure_says_object_cause_and_next_step(reason: str, told: str, advice: str) -> None:
    message = str(PodFailure("fraud-x", "server", reason, told))
    assert message.startswith(f"Container server of pod fraud-x: {reason}: {told.rstrip('.')}.")
    assert message.endswith(advice) or advice in message


MODEL_IMAGE = "registry.example/models/fraud:7"


@pytest.mark.parametrize(
    ("reason", "message", "expected"),
    [
        ("ImagePullBackOff", f'Back-off pulling image "{MODEL_IMAGE}"', "ModelImageNotPulled"),
        ("InvalidImageName", f'Failed to parse "{MODEL_IMAGE}"', "ModelImageNotPulled"),
        ("ImagePullBackOff", 'Back-off pulling image "registry.example/serinus-server:1"', "ImagePullBackOff"),
        ("CreateContainerError", 'failed to generate spec: failed to mkdir ""', "ModelImageNotMounted"),
        ("CreateContainerConfigError", 'secret "x" not found', "CreateContainerConfigError"),
    ],
)
def test_the_image_of_a_model_is_told_from_that_of_the_server(reason: str, message: str, expected: str) -> None:
    found = pod(TO_COME, init=container("verify", waiting(reason, message)))
    found["spec"] = {"volumes": [{"name": "model", "image": {"reference": MODEL_IMAGE}}]}
    failure = pod_failure(found)
    assert failure is not None
    assert failure.reason == expected
    assert failure.message == (message if expected == reason else f"{reason}: {message}")
    assert expected == reason or "the model" in str(failure) or "spec.model.uri" in str(failure)


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("VolumeNotMounted", "Kubernetes 1.35 has them"),
        ("AccessDenied", "Let all users read it on the volume"),
        ("InvalidURI", "A link in the volume has to stay within it."),
        ("NotFound", "Correct spec.model.uri, or put the model there."),
        ("DigestMismatch", ""),
    ],
)
def test_a_model_that_is_mounted_has_other_faults_than_one_that_is_fetched(reason: str, advice: str) -> None:
    message = str(PodFailure("fraud-x", "verify", reason, "told"))
    assert message.startswith(f"Container verify of pod fraud-x: {reason}: told.")
    assert advice in message


def owned(kind: str, of: str | None = None, uid: str = UID, **parts: object) -> dict[str, Any]:
    labels = {SERVICE_LABEL: "fraud"} | ({REVISION_LABEL: of} if of else {})
    owner = {"kind": "InferenceService", "name": "fraud", "uid": uid, "controller": True}
    return {"kind": kind, "metadata": {"name": "fraud", "labels": labels, "ownerReferences": [owner]}, **parts}


def deployment(revision: str, replicas: int | None, ready: int | None, uid: str = UID) -> dict[str, Any]:
    spec: dict[str, Any] = {"template": {"spec": {"runs": revision}}}
    status = {} if ready is None else {"readyReplicas": ready}
    return owned(
        "Deployment", revision, uid, spec=spec | ({} if replicas is None else {"replicas": replicas}), status=status
    )


def test_nothing_is_there() -> None:
    assert observe(UID, Children()) == Observed()
    assert (Observed().ready("aaa"), Observed().replicas("aaa"), Observed().ready(None)) == (0, 0, 0)


def test_the_facts_are_told_by_revision() -> None:
    history = owned("ControllerRevision", "aaa", data={"template": {"spec": {"pinned": True}}}, revision=3)
    observed = observe(
        UID,
        Children(
            deployments=(deployment("aaa", 4, 3), deployment("bbb", None, None)),
            controller_revisions=(history,),
            services=(owned("Service", spec={"selector": {SERVICE_LABEL: "fraud", REVISION_LABEL: "aaa"}}),),
        ),
    )
    assert observed.workloads == {"aaa": Workload(replicas=4, ready=3), "bbb": Workload(replicas=1, ready=0)}
    assert observed.pinned == {"aaa": {"spec": {"pinned": True}}}
    assert observed.running == {"aaa": {"spec": {"runs": "aaa"}}, "bbb": {"spec": {"runs": "bbb"}}}
    assert observed.history == {"aaa": 3}
    assert observed.traffic_to == "aaa"


@pytest.mark.parametrize(
    ("services", "expected"),
    [
        ([{"selector": {SERVICE_LABEL: "fraud"}}], None),
        ([{"selector": {SERVICE_LABEL: "fraud", REVISION_LABEL: "bbb"}}], "bbb"),
        ([{}], None),
        ([], None),
    ],
)
def test_where_the_requests_go(services: list[dict[str, Any]], expected: str | None) -> None:
    children = Children(services=tuple(owned("Service", spec=spec) for spec in services))
    assert observe(UID, children).traffic_to == expected


def test_objects_of_another_owner_do_not_count() -> None:
    other = "22222222-0000-0000-0000-000000000000"
    children = Children(
        deployments=(deployment("aaa", 4, 4, other),),
        controller_revisions=(owned("ControllerRevision", "aaa", other, data={"template": {}}, revision=1),),
        services=(owned("Service", uid=other, spec={"selector": {REVISION_LABEL: "aaa"}}),),
    )
    assert observe(UID, children) == Observed()


@pytest.mark.parametrize(
    ("owners", "expected"),
    [
        ([{"uid": UID, "controller": True}], True),
        ([{"uid": "2", "controller": False}, {"uid": UID, "controller": True}], True),
        ([{"uid": UID, "controller": False}], False),
        ([{"uid": UID}], False),
        ([{"uid": "2", "controller": True}], False),
        ([], False),
    ],
)
def test_only_the_controller_owns(owners: list[dict[str, Any]], expected: bool) -> None:
    assert is_owned({"metadata": {"ownerReferences": owners}}, UID) is expected


def test_an_object_without_owners_is_nobodys() -> None:
    assert not is_owned({"metadata": {"name": "fraud"}}, UID)


def test_the_first_failing_pod_of_each_revision_is_named() -> None:
    broken = container("server", waiting("InvalidImageName"))
    children = Children(
        pods=(
            pod(broken, name="fraud-c", revision="bbb"),
            pod(broken, name="fraud-b"),
            pod(broken, name="fraud-a"),
            pod(container("server", RUNNING, ready=True), name="fraud-0"),
        )
    )
    assert observe(UID, children).failures == {
        "aaa": PodFailure("fraud-a", "server", "InvalidImageName", ""),
        "bbb": PodFailure("fraud-c", "server", "InvalidImageName", ""),
    }


def test_a_pod_that_is_being_deleted_has_not_failed() -> None:
    going = pod(container("server", terminated(137, "OOMKilled")))
    going["metadata"]["deletionTimestamp"] = "2026-03-01T03:00:00Z"
    assert observe(UID, Children(pods=(going,))).failures == {}
