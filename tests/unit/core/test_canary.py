"""Whole rollouts, told as what happens to a service and what becomes of it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Unpack

import pytest

from serinus.api.status import Phase, Stage, Verdict
from serinus.api.units import parse_duration
from serinus.core import canary, schedule
from serinus.core.canary import METRICS_PATIENCE
from serinus.core.command import parse_command
from serinus.core.observe import PodFailure
from serinus.core.revision import revision_of
from serinus.ports import MetricsUnavailableError
from tests.unit.core.rollouts import START, Wish, World, deployed, spec_of

Happening = Callable[[World], object]


def asks_for(version: str, **wish: Unpack[Wish]) -> Happening:
    return lambda world: world.ask(spec_of(version, **wish))


def command(verb: str, revision: str | None = None) -> Happening:
    return lambda world: world.command(verb, revision)


def annotation(text: str) -> Happening:
    return lambda world: setattr(world, "annotation", parse_command(text))


def until(phase: Phase, reason: str | None = None) -> Happening:
    return lambda world: world.run_until(phase, reason)


def wait(duration: str) -> Happening:
    return lambda world: world.run(parse_duration(duration))


def fails(version: str, share: float) -> Happening:
    return lambda world: world.traffic.failing.update({version: share})


def is_slow(version: str, share: float) -> Happening:
    return lambda world: world.traffic.slow.update({version: share})


def breaks(version: str, reason: str, message: str = "its log says more") -> Happening:
    return lambda world: world.break_pods(version, reason, message)


def mends(version: str) -> Happening:
    return lambda world: world.failures.pop(version, None)


def keeps_unready(version: str, pods: int) -> Happening:
    return lambda world: world.unready.update({version: pods})


def has_no_room(version: str) -> Happening:
    return lambda world: world.leave_no_room(version)


def has_room(version: str) -> Happening:
    return lambda world: world.make_room(version)


def requests_per_minute(number: int) -> Happening:
    return lambda world: setattr(world.traffic, "per_minute", number)


def metrics(*, work: bool) -> Happening:
    return lambda world: setattr(world, "metrics_work", work)


def autoscaler_makes(version: str, pods: int) -> Happening:
    return lambda world: world.scale(version, pods)


def gets(version: str, share: float) -> Happening:
    """Not a happening: a look at which part of the requests reaches a version."""

    def check(world: World) -> None:
        world.settle()
        assert world.share(revision_of(spec_of(version))) == share

    return check


def now_is(phase: Phase, reason: str | None = None, stage: Stage | None = None) -> Happening:
    """Not a happening: a look at how things stand in between."""

    def check(world: World) -> None:
        world.settle()
        rollout = world.state.rollout
        assert rollout.phase is phase, rollout
        assert reason in (None, rollout.reason), rollout
        assert stage in (None, rollout.stage), rollout

    return check


@dataclass(frozen=True)
class Story:
    happens: list[Happening]
    ends: Phase
    reason: str
    serves: str
    path: list[str] | None = None
    """Phases gone through since the first version was deployed; None: not told."""
    says: list[str] = field(default_factory=list)
    """Parts of the last message."""
    events: list[str] | None = None
    first: Wish = field(default_factory=Wish)
    """Policy and scale of the first version."""


STEPS_TO_PROMOTION = ["CanaryStarting", "Progressing", "Promoting", "Stable"]
ROLLED_BACK_EARLY = ["CanaryStarting", "RollingBack", "RolledBack"]
ROLLED_BACK = ["CanaryStarting", "Progressing", "RollingBack", "RolledBack"]

STORIES = {
    # Without trouble.
    "first_deployment_has_no_canary": Story([wait("1h")], Phase.STABLE, "Stable", serves="1", path=["Stable"]),
    "good_version_promoted": Story(
        [asks_for("2"), until(Phase.STABLE, "Promoted")],
        Phase.STABLE,
        "Promoted",
        serves="2",
        path=STEPS_TO_PROMOTION,
        events=["CanaryStarted", "StepStarted", "StepPassed", "StepStarted", "Promoting", "Promoted"],
    ),
    "resources_and_version_change_together": Story(
        [asks_for("2", memory="1Gi", replicas=6), until(Phase.STABLE, "Promoted")], Phase.STABLE, "Promoted", serves="2"
    ),
    "resources_alone_are_a_new_revision": Story(
        [asks_for("1", memory="1Gi"), until(Phase.STABLE, "Promoted")],
        Phase.STABLE,
        "Promoted",
        serves="1",
        path=STEPS_TO_PROMOTION,
    ),
    "scale_and_policy_alone_are_no_rollout": Story(
        [asks_for("1", replicas=7, promotion="Manual"), wait("1h")], Phase.STABLE, "Stable", serves="1", path=["Stable"]
    ),
    # Bad versions, by their requests.
    "failing_version_rolled_back": Story(
        [fails("2", 0.3), asks_for("2"), until(Phase.ROLLED_BACK)],
        Phase.ROLLED_BACK,
        "HighErrorRate",
        serves="1",
        path=ROLLED_BACK,
        says=[
            "Version 2 was rolled back, version 1 serves.",
            "errors <= 1%",
            "kubectl serinus retry digits -n vision; without that plugin: ",
            "kubectl annotate infsvc digits -n vision --overwrite serinus.dev/command=",
            ":retry:",
        ],
        events=["CanaryStarted", "StepStarted", "RollingBack", "RolledBack"],
    ),
    "slow_version_rolled_back": Story(
        [is_slow("2", 0.5), asks_for("2"), until(Phase.ROLLED_BACK)],
        Phase.ROLLED_BACK,
        "HighLatency",
        serves="1",
        path=ROLLED_BACK,
        says=["P95 <= 100ms", "version 2 were slower"],
    ),
    "version_that_fails_late_rolled_back": Story(
        [asks_for("2"), wait("4m"), fails("2", 0.3), until(Phase.ROLLED_BACK)],
        Phase.ROLLED_BACK,
        "HighErrorRate",
        serves="1",
    ),
    # Bad versions, by their pods.
    "crash_looping_version_rolled_back": Story(
        [breaks("2", "CrashLoopBackOff", "exits with code 1 again and again"), asks_for("2"), until(Phase.ROLLED_BACK)],
        Phase.ROLLED_BACK,
        "CrashLoopBackOff",
        serves="1",
        path=ROLLED_BACK_EARLY,
        says=["Container server of pod fraud-x: CrashLoopBackOff: exits with code 1"],
    ),
    "unloadable_model_rolled_back_and_named": Story(
        [
            breaks("2", "ModelLoadFailed", "model.onnx is not a whole ONNX model"),
            asks_for("2"),
            until(Phase.ROLLED_BACK),
        ],
        Phase.ROLLED_BACK,
        "ModelLoadFailed",
        serves="1",
        path=ROLLED_BACK_EARLY,
        says=["Version 2 was rolled back", "model.onnx is not a whole ONNX model"],
    ),
    "crash_in_the_midst_rolled_back_without_metrics": Story(
        [
            asks_for("2"),
            wait("1m"),
            metrics(work=False),
            breaks("2", "OOMKilled"),
            now_is(Phase.ROLLED_BACK),
        ],
        Phase.ROLLED_BACK,
        "OOMKilled",
        serves="1",
    ),
    "message_of_any_length_fits": Story(
        [breaks("2", "ModelLoadFailed", "x" * 4000), asks_for("2"), until(Phase.ROLLED_BACK)],
        Phase.ROLLED_BACK,
        "ModelLoadFailed",
        serves="1",
        says=["xxx…", ":retry:"],
    ),
    # One version after another.
    "bad_to_good_update": Story(
        [
            fails("2", 0.3),
            asks_for("2"),
            until(Phase.ROLLED_BACK),
            asks_for("3"),
            until(Phase.STABLE, "Promoted"),
        ],
        Phase.STABLE,
        "Promoted",
        serves="3",
        path=[*ROLLED_BACK, *STEPS_TO_PROMOTION],
    ),
    "bad_to_bad_update": Story(
        [
            fails("2", 0.3),
            asks_for("2"),
            until(Phase.ROLLED_BACK),
            breaks("3", "ImagePullBackOff"),
            asks_for("3"),
            until(Phase.ROLLED_BACK, "ImagePullBackOff"),
        ],
        Phase.ROLLED_BACK,
        "ImagePullBackOff",
        serves="1",
        path=[*ROLLED_BACK, *ROLLED_BACK_EARLY],
    ),
    "third_revision_mid_canary": Story(
        [asks_for("2"), wait("1m"), asks_for("3"), until(Phase.STABLE, "Promoted")],
        Phase.STABLE,
        "Promoted",
        serves="3",
        path=["CanaryStarting", "Progressing", "RollingBack", "Stable", *STEPS_TO_PROMOTION],
        events=[
            *("CanaryStarted", "StepStarted", "RollingBack"),
            *("CanaryStarted", "StepStarted", "StepPassed", "StepStarted", "Promoting", "Promoted"),
        ],
    ),
    "third_revision_that_is_bad_rolls_back_to_the_first": Story(
        [asks_for("2"), wait("4m"), fails("3", 0.3), asks_for("3"), until(Phase.ROLLED_BACK)],
        Phase.ROLLED_BACK,
        "HighErrorRate",
        serves="1",
    ),
    "third_revision_while_promoting": Story(
        [
            asks_for("2"),
            until(Phase.PROMOTING),
            now_is(Phase.PROMOTING, stage=Stage.BAKE),
            asks_for("3"),
            until(Phase.STABLE, "Promoted"),
        ],
        Phase.STABLE,
        "Promoted",
        serves="3",
    ),
    "failed_revision_again_mid_canary_is_not_tried": Story(
        [
            fails("2", 0.3),
            asks_for("2"),
            until(Phase.ROLLED_BACK),
            asks_for("3"),
            wait("1m"),
            asks_for("2"),
            until(Phase.ROLLED_BACK),
        ],
        Phase.ROLLED_BACK,
        "HighErrorRate",
        serves="1",
        says=["Version 2 was rolled back"],
    ),
    "from_one_failed_revision_to_another": Story(
        [
            fails("2", 0.3),
            asks_for("2"),
            until(Phase.ROLLED_BACK),
            breaks("3", "OOMKilled"),
            asks_for("3"),
            until(Phase.ROLLED_BACK, "OOMKilled"),
            asks_for("2"),
            wait("1m"),
        ],
        Phase.ROLLED_BACK,
        "HighErrorRate",
        serves="1",
        says=["Version 2 was rolled back"],
    ),
    "revert_mid_canary_needs_no_analysis": Story(
        [
            metrics(work=False),
            asks_for("2"),
            wait("1m"),
            asks_for("1"),
            now_is(Phase.STABLE),
        ],
        Phase.STABLE,
        "Reverted",
        serves="1",
        path=["CanaryStarting", "Progressing", "RollingBack", "Stable"],
    ),
    "reverted_revision_may_be_tried_again": Story(
        [asks_for("2"), wait("1m"), asks_for("1"), wait("1m"), asks_for("2"), until(Phase.STABLE, "Promoted")],
        Phase.STABLE,
        "Promoted",
        serves="2",
    ),
    "revert_after_rollback": Story(
        [fails("2", 0.3), asks_for("2"), until(Phase.ROLLED_BACK), asks_for("1"), wait("1m")],
        Phase.STABLE,
        "Stable",
        serves="1",
        path=[*ROLLED_BACK, "Stable"],
    ),
    "argo_cd_reapply_stays_rolled_back": Story(
        [
            fails("2", 0.3),
            asks_for("2"),
            until(Phase.ROLLED_BACK),
            fails("2", 0),
            asks_for("2"),
            wait("2h"),
            asks_for("1"),
            wait("1m"),
            asks_for("2"),
            wait("2h"),
        ],
        Phase.ROLLED_BACK,
        "HighErrorRate",
        serves="1",
        path=[*ROLLED_BACK, "Stable", "RolledBack"],
    ),
    # Back to a version that has served.
    "recently_good_version_needs_no_analysis": Story(
        [
            asks_for("2"),
            until(Phase.STABLE, "Promoted"),
            metrics(work=False),
            asks_for("1", rollbackWindow={"revisions": 1}),
            until(Phase.STABLE, "Promoted"),
        ],
        Phase.STABLE,
        "Promoted",
        serves="1",
        path=[*STEPS_TO_PROMOTION, "Promoting", "Stable"],
        events=[
            *("CanaryStarted", "StepStarted", "StepPassed", "StepStarted", "Promoting", "Promoted"),
            *("Promoting", "Promoted"),
        ],
    ),
    "recently_good_version_still_waits_for_its_pods": Story(
        [
            asks_for("2"),
            until(Phase.STABLE, "Promoted"),
            keeps_unready("1", 1),
            asks_for("1", rollbackWindow={"revisions": 1}),
            wait("30m"),
        ],
        Phase.PROMOTING,
        "KnownToBeGood",
        serves="2",
        says=["has served before, within the rollback window, and is not judged again"],
    ),
    "recently_good_version_that_breaks_goes_back_and_is_judged_on_a_retry": Story(
        [
            asks_for("2"),
            until(Phase.STABLE, "Promoted"),
            breaks("1", "OOMKilled"),
            asks_for("1", rollbackWindow={"revisions": 1}),
            until(Phase.ROLLED_BACK),
            mends("1"),
            command("retry"),
            now_is(Phase.PROGRESSING, "Analyzing"),
        ],
        Phase.PROGRESSING,
        "Analyzing",
        serves="2",
    ),
    "former_version_without_a_rollback_window_is_judged": Story(
        [asks_for("2"), until(Phase.STABLE, "Promoted"), asks_for("1"), wait("1m")],
        Phase.PROGRESSING,
        "Analyzing",
        serves="2",
    ),
    "former_version_before_the_rollback_window_is_judged": Story(
        [
            asks_for("2"),
            until(Phase.STABLE, "Promoted"),
            asks_for("3"),
            until(Phase.STABLE, "Promoted"),
            asks_for("1", rollbackWindow={"revisions": 1}),
            wait("1m"),
        ],
        Phase.PROGRESSING,
        "Analyzing",
        serves="3",
    ),
    "rollback_window_reaches_over_several_versions": Story(
        [
            asks_for("2"),
            until(Phase.STABLE, "Promoted"),
            asks_for("3"),
            until(Phase.STABLE, "Promoted"),
            asks_for("1", rollbackWindow={"revisions": 2}),
            until(Phase.STABLE, "Promoted"),
        ],
        Phase.STABLE,
        "Promoted",
        serves="1",
        path=[*STEPS_TO_PROMOTION, *STEPS_TO_PROMOTION, "Promoting", "Stable"],
    ),
    "version_left_behind_by_going_back_is_judged_again": Story(
        [
            asks_for("2"),
            until(Phase.STABLE, "Promoted"),
            asks_for("1", rollbackWindow={"revisions": 5}),
            until(Phase.STABLE, "Promoted"),
            asks_for("2", rollbackWindow={"revisions": 5}),
            wait("1m"),
        ],
        Phase.PROGRESSING,
        "Analyzing",
        serves="1",
    ),
    "rolled_back_version_never_served_and_is_judged": Story(
        [
            fails("2", 0.3),
            asks_for("2"),
            until(Phase.ROLLED_BACK),
            asks_for("3"),
            until(Phase.STABLE, "Promoted"),
            fails("2", 0),
            asks_for("2", rollbackWindow={"revisions": 5}),
            command("retry"),
            wait("1m"),
        ],
        Phase.PROGRESSING,
        "Analyzing",
        serves="3",
    ),
    # Commands.
    "promote_command": Story(
        [is_slow("2", 0.5), asks_for("2"), wait("40s"), command("promote"), until(Phase.STABLE, "Promoted")],
        Phase.STABLE,
        "Promoted",
        serves="2",
        path=STEPS_TO_PROMOTION,
    ),
    "promote_command_never_skips_readiness": Story(
        [keeps_unready("2", 1), asks_for("2"), wait("1m"), command("promote"), wait("30m")],
        Phase.PROMOTING,
        "PromotedByCommand",
        serves="1",
    ),
    "promote_while_paused": Story(
        [
            asks_for("2"),
            requests_per_minute(0),
            until(Phase.PAUSED),
            command("promote"),
            until(Phase.STABLE, "Promoted"),
        ],
        Phase.STABLE,
        "Promoted",
        serves="2",
        path=["CanaryStarting", "Progressing", "Paused", "Promoting", "Stable"],
    ),
    "abort_command": Story(
        [asks_for("2"), wait("1m"), command("abort"), now_is(Phase.ROLLED_BACK), wait("2h")],
        Phase.ROLLED_BACK,
        "Aborted",
        serves="1",
        path=ROLLED_BACK,
    ),
    "abort_while_promoting": Story(
        [asks_for("2"), until(Phase.PROMOTING), command("abort"), wait("1m")], Phase.ROLLED_BACK, "Aborted", serves="1"
    ),
    "retry_after_rollback": Story(
        [
            fails("2", 0.3),
            asks_for("2"),
            until(Phase.ROLLED_BACK),
            fails("2", 0),
            command("retry"),
            until(Phase.STABLE, "Promoted"),
        ],
        Phase.STABLE,
        "Promoted",
        serves="2",
        path=[*ROLLED_BACK, *STEPS_TO_PROMOTION],
    ),
    "retry_is_done_once": Story(
        [fails("2", 0.3), asks_for("2"), until(Phase.ROLLED_BACK), command("retry"), wait("2h")],
        Phase.ROLLED_BACK,
        "HighErrorRate",
        serves="1",
        path=[*ROLLED_BACK, *ROLLED_BACK],
    ),
    "stale_command_ignored": Story(
        [asks_for("2"), wait("1m"), command("abort", "0123456789"), until(Phase.STABLE, "Promoted")],
        Phase.STABLE,
        "Promoted",
        serves="2",
        path=STEPS_TO_PROMOTION,
        events=[
            *("CanaryStarted", "StepStarted", "StaleCommand"),
            *("StepPassed", "StepStarted", "Promoting", "Promoted"),
        ],
    ),
    "no_command_is_told_of_once": Story(
        [asks_for("2"), wait("1m"), annotation("1:abrot:0123456789"), until(Phase.STABLE, "Promoted")],
        Phase.STABLE,
        "Promoted",
        serves="2",
        path=STEPS_TO_PROMOTION,
        events=[
            *("CanaryStarted", "StepStarted", "InvalidCommand"),
            *("StepPassed", "StepStarted", "Promoting", "Promoted"),
        ],
    ),
    "command_without_a_rollout_does_nothing": Story(
        [command("promote"), wait("1h"), command("abort"), wait("1h"), command("retry"), wait("1h")],
        Phase.STABLE,
        "Stable",
        serves="1",
        path=["Stable"],
        events=[],
    ),
    "pause_command": Story(
        [asks_for("2"), wait("1m"), command("pause"), wait("3h")],
        Phase.PAUSED,
        "PausedByCommand",
        serves="1",
        path=["CanaryStarting", "Progressing", "Paused"],
        says=["was paused by command and holds its weight", ":resume:"],
        events=["CanaryStarted", "StepStarted", "RolloutPaused"],
    ),
    "resume_goes_on_from_the_step": Story(
        [
            asks_for("2"),
            wait("3m"),
            command("pause"),
            wait("3h"),
            command("resume"),
            now_is(Phase.PROGRESSING, "Analyzing", Stage.ANALYZING),
            wait("4m"),
            now_is(Phase.PROGRESSING, "Analyzing", Stage.ANALYZING),
            until(Phase.STABLE, "Promoted"),
        ],
        Phase.STABLE,
        "Promoted",
        serves="2",
        path=["CanaryStarting", "Progressing", "Paused", *STEPS_TO_PROMOTION[1:]],
        events=[
            *("CanaryStarted", "StepStarted", "StepPassed", "StepStarted", "RolloutPaused"),
            *("RolloutResumed", "StepStarted", "Promoting", "Promoted"),
        ],
    ),
    "pause_before_the_first_request_gives_none": Story(
        [
            keeps_unready("2", 1),
            asks_for("2"),
            wait("1m"),
            command("pause"),
            keeps_unready("2", 0),
            metrics(work=False),
            wait("3h"),
            gets("2", 0),
            now_is(Phase.PAUSED, "PausedByCommand"),
            metrics(work=True),
            command("resume"),
            until(Phase.STABLE, "Promoted"),
        ],
        Phase.STABLE,
        "Promoted",
        serves="2",
        path=["CanaryStarting", "Paused", *STEPS_TO_PROMOTION],
    ),
    "promote_while_paused_by_command": Story(
        [asks_for("2"), wait("1m"), command("pause"), wait("3h"), command("promote"), until(Phase.STABLE, "Promoted")],
        Phase.STABLE,
        "Promoted",
        serves="2",
        path=["CanaryStarting", "Progressing", "Paused", "Promoting", "Stable"],
    ),
    "abort_while_paused_by_command": Story(
        [asks_for("2"), wait("1m"), command("pause"), wait("3h"), command("abort"), wait("1m")],
        Phase.ROLLED_BACK,
        "Aborted",
        serves="1",
        path=["CanaryStarting", "Progressing", "Paused", "RollingBack", "RolledBack"],
    ),
    "crash_while_paused_by_command_rolled_back": Story(
        [asks_for("2"), wait("1m"), command("pause"), wait("1m"), breaks("2", "OOMKilled"), wait("1s")],
        Phase.ROLLED_BACK,
        "OOMKilled",
        serves="1",
    ),
    "failing_while_paused_by_command_rolled_back": Story(
        [asks_for("2"), wait("1m"), command("pause"), wait("1m"), fails("2", 0.5), wait("10m")],
        Phase.ROLLED_BACK,
        "HighErrorRate",
        serves="1",
    ),
    "revert_while_paused_by_command": Story(
        [asks_for("2"), wait("1m"), command("pause"), wait("1m"), asks_for("1"), wait("1m")],
        Phase.STABLE,
        "Reverted",
        serves="1",
    ),
    "pause_outlasts_a_pause_that_would_end_by_itself": Story(
        [
            asks_for("2"),
            requests_per_minute(0),
            until(Phase.PAUSED, "InsufficientTraffic"),
            command("pause"),
            requests_per_minute(1200),
            wait("2h"),
        ],
        Phase.PAUSED,
        "PausedByCommand",
        serves="1",
    ),
    "pause_while_promoting_does_nothing": Story(
        [asks_for("2"), until(Phase.PROMOTING), command("pause"), until(Phase.STABLE, "Promoted")],
        Phase.STABLE,
        "Promoted",
        serves="2",
        path=STEPS_TO_PROMOTION,
    ),
    "resume_without_a_pause_by_command_does_nothing": Story(
        [asks_for("2", promotion="Manual"), until(Phase.PAUSED), command("resume"), wait("1h")],
        Phase.PAUSED,
        "ManualPromotion",
        serves="1",
        path=["CanaryStarting", "Progressing", "Paused"],
    ),
    "manual_promotion_waits": Story(
        [asks_for("2", promotion="Manual"), until(Phase.PAUSED), wait("90m")],
        Phase.PAUSED,
        "ManualPromotion",
        serves="1",
        path=["CanaryStarting", "Progressing", "Paused"],
        says=["Version 2 passed all steps.", "with abort in place of promote", "serinus.dev/command=", ":promote:"],
    ),
    "manual_promotion_waits_under_guard": Story(
        [asks_for("2", promotion="Manual"), until(Phase.PAUSED), wait("90m"), fails("2", 0.5), wait("10m")],
        Phase.ROLLED_BACK,
        "HighErrorRate",
        serves="1",
    ),
    # Deadlines.
    "pause_longer_than_deadline": Story(
        [
            asks_for("2", promotion="Manual"),
            until(Phase.PAUSED),
            wait("90m"),
            command("promote"),
            until(Phase.STABLE, "Promoted"),
        ],
        Phase.STABLE,
        "Promoted",
        serves="2",
        path=["CanaryStarting", "Progressing", "Paused", "Promoting", "Stable"],
    ),
    "pause_command_longer_than_deadline": Story(
        [
            asks_for("2"),
            wait("1m"),
            command("pause"),
            wait("90m"),
            command("resume"),
            until(Phase.STABLE, "Promoted"),
        ],
        Phase.STABLE,
        "Promoted",
        serves="2",
    ),
    "time_paused_by_command_is_all_that_the_deadline_gets_back": Story(
        [
            keeps_unready("2", 1),
            asks_for("2"),
            wait("30m"),
            command("pause"),
            wait("90m"),
            command("resume"),
            wait("29m"),
            now_is(Phase.CANARY_STARTING),
            wait("1m"),
        ],
        Phase.ROLLED_BACK,
        "DeadlineExceeded",
        serves="1",
    ),
    "manual_promotion_and_a_pause_on_top_are_longer_than_deadline": Story(
        [
            asks_for("2", promotion="Manual"),
            until(Phase.PAUSED),
            wait("50m"),
            command("pause"),
            wait("50m"),
            command("promote"),
            until(Phase.STABLE, "Promoted"),
        ],
        Phase.STABLE,
        "Promoted",
        serves="2",
    ),
    "deadline_rolls_back": Story(
        [keeps_unready("2", 1), asks_for("2"), wait("59m"), now_is(Phase.CANARY_STARTING), wait("1m")],
        Phase.ROLLED_BACK,
        "DeadlineExceeded",
        serves="1",
        path=ROLLED_BACK_EARLY,
        says=["not over within 1h", "0 of 1 pods are ready"],
    ),
    "canary_without_room_waits_for_it_until_the_deadline": Story(
        [has_no_room("2"), asks_for("2"), wait("59m"), now_is(Phase.CANARY_STARTING), wait("1m")],
        Phase.ROLLED_BACK,
        "DeadlineExceeded",
        serves="1",
        path=ROLLED_BACK_EARLY,
        says=["0 of 1 pods are ready. Pod fraud-x: Unschedulable: 0/3 nodes are available. Add nodes."],
    ),
    "canary_that_gets_room_goes_on": Story(
        [has_no_room("2"), asks_for("2"), wait("30m"), has_room("2"), until(Phase.STABLE, "Promoted")],
        Phase.STABLE,
        "Promoted",
        serves="2",
    ),
    "readiness_flips_do_not_move_the_deadline": Story(
        [
            keeps_unready("2", 1),
            asks_for("2"),
            wait("30m"),
            keeps_unready("2", 0),
            requests_per_minute(0),
            wait("1m"),
            keeps_unready("2", 1),
            wait("29m"),
        ],
        Phase.ROLLED_BACK,
        "DeadlineExceeded",
        serves="1",
    ),
    "deadline_rolls_back_while_promoting": Story(
        [asks_for("2"), wait("1m"), keeps_unready("2", 3), command("promote"), wait("1h")],
        Phase.ROLLED_BACK,
        "DeadlineExceeded",
        serves="1",
        path=["CanaryStarting", "Progressing", "Promoting", "RollingBack", "RolledBack"],
    ),
    # The policy.
    "policy_edited_mid_canary": Story(
        [
            asks_for("2"),
            wait("1m"),
            asks_for("2", promotion="Manual", steps=[{"weightPercent": 1, "duration": "50m"}]),
            until(Phase.STABLE, "Promoted"),
        ],
        Phase.STABLE,
        "Promoted",
        serves="2",
        path=STEPS_TO_PROMOTION,
    ),
    "edited_policy_applies_next_time": Story(
        [
            asks_for("2"),
            wait("1m"),
            asks_for("2", promotion="Manual"),
            until(Phase.STABLE, "Promoted"),
            asks_for("3", promotion="Manual"),
            until(Phase.PAUSED),
        ],
        Phase.PAUSED,
        "ManualPromotion",
        serves="2",
    ),
    # Trouble that is not the new version's.
    "both_arms_degrade_pauses": Story(
        [asks_for("2"), wait("1m"), fails("1", 0.4), fails("2", 0.4), until(Phase.PAUSED), wait("10m")],
        Phase.PAUSED,
        "Environment",
        serves="1",
        path=["CanaryStarting", "Progressing", "Paused"],
        says=["Version 1 breaks the limits too", "abort, or retry to judge anew"],
    ),
    "retry_goes_on_when_the_environment_is_good_again": Story(
        [
            asks_for("2"),
            wait("1m"),
            fails("1", 0.4),
            fails("2", 0.4),
            until(Phase.PAUSED),
            fails("1", 0),
            fails("2", 0),
            command("retry"),
            until(Phase.STABLE, "Promoted"),
        ],
        Phase.STABLE,
        "Promoted",
        serves="2",
    ),
    "stable_fails_while_canary_is_good": Story(
        [asks_for("2"), wait("1m"), breaks("1", "OOMKilled"), until(Phase.STABLE, "Promoted")],
        Phase.STABLE,
        "Promoted",
        serves="2",
        path=STEPS_TO_PROMOTION,
        events=["CanaryStarted", "StepStarted", "Promoting", "Promoted"],
    ),
    "broken_stable_is_replaced_by_a_version_that_is_ready": Story(
        [breaks("1", "CrashLoopBackOff"), asks_for("2"), until(Phase.STABLE, "Promoted")],
        Phase.STABLE,
        "Promoted",
        serves="2",
    ),
    "promotion_fails_after_traffic_shift": Story(
        [
            asks_for("2"),
            until(Phase.PROMOTING),
            now_is(Phase.PROMOTING, stage=Stage.BAKE),
            breaks("2", "OOMKilled"),
            wait("1m"),
        ],
        Phase.ROLLED_BACK,
        "OOMKilled",
        serves="1",
        path=["CanaryStarting", "Progressing", "Promoting", "RollingBack", "RolledBack"],
    ),
    "promotion_that_leaves_nobody_ready_goes_back": Story(
        [
            asks_for("2"),
            until(Phase.PROMOTING),
            now_is(Phase.PROMOTING, stage=Stage.BAKE),
            keeps_unready("2", 4),
            now_is(Phase.ROLLED_BACK),
        ],
        Phase.ROLLED_BACK,
        "NotReady",
        serves="1",
    ),
    "promotion_waits_for_a_pod_that_is_not_ready": Story(
        [
            asks_for("2"),
            until(Phase.PROMOTING),
            now_is(Phase.PROMOTING, stage=Stage.BAKE),
            keeps_unready("2", 1),
            wait("5m"),
            now_is(Phase.PROMOTING, stage=Stage.BAKE),
            keeps_unready("2", 0),
            now_is(Phase.STABLE),
        ],
        Phase.STABLE,
        "Promoted",
        serves="2",
    ),
    # No metrics.
    "metrics_missing_hold_the_weight": Story(
        [asks_for("2"), wait("1m"), metrics(work=False), wait("9m")],
        Phase.PROGRESSING,
        "Analyzing",
        serves="1",
        path=["CanaryStarting", "Progressing"],
    ),
    "step_does_not_pass_on_what_was_seen_before_the_metrics_went": Story(
        [asks_for("2"), wait("1m45s"), metrics(work=False), wait("5m")],
        Phase.PROGRESSING,
        "Analyzing",
        serves="1",
        events=["CanaryStarted", "StepStarted"],
    ),
    "metrics_missing_for_ten_minutes_pause": Story(
        [asks_for("2"), wait("1m"), metrics(work=False), wait("11m")],
        Phase.PAUSED,
        "MetricsUnavailable",
        serves="1",
        path=["CanaryStarting", "Progressing", "Paused"],
        says=["no metrics to judge by since 03:01:30 UTC", "connection refused"],
    ),
    "metrics_back_go_on": Story(
        [
            asks_for("2"),
            wait("1m"),
            metrics(work=False),
            wait("11m"),
            now_is(Phase.PAUSED, "MetricsUnavailable"),
            metrics(work=True),
            until(Phase.STABLE, "Promoted"),
        ],
        Phase.STABLE,
        "Promoted",
        serves="2",
        path=["CanaryStarting", "Progressing", "Paused", *STEPS_TO_PROMOTION[1:]],
    ),
    "metrics_back_within_ten_minutes_are_no_event": Story(
        [
            asks_for("2"),
            wait("1m"),
            metrics(work=False),
            wait("9m"),
            metrics(work=True),
            until(Phase.STABLE, "Promoted"),
        ],
        Phase.STABLE,
        "Promoted",
        serves="2",
        path=STEPS_TO_PROMOTION,
    ),
    "metrics_missing_until_the_deadline": Story(
        [metrics(work=False), asks_for("2"), wait("1h")], Phase.ROLLED_BACK, "DeadlineExceeded", serves="1"
    ),
    # Too few requests.
    "insufficient_traffic_pauses": Story(
        [asks_for("2"), requests_per_minute(2), wait("11m")],
        Phase.PAUSED,
        "InsufficientTraffic",
        serves="1",
        says=["too few requests", "of 100 requests in 600 s"],
    ),
    "insufficient_traffic_waits_five_times_the_step": Story(
        [asks_for("2"), requests_per_minute(2), wait("9m30s")], Phase.PROGRESSING, "Analyzing", serves="1"
    ),
    "insufficient_traffic_goes_on_when_requests_come": Story(
        [
            asks_for("2"),
            requests_per_minute(0),
            until(Phase.PAUSED),
            requests_per_minute(1200),
            until(Phase.STABLE, "Promoted"),
        ],
        Phase.STABLE,
        "Promoted",
        serves="2",
    ),
    "insufficient_traffic_promotes": Story(
        [requests_per_minute(0), asks_for("2", onInsufficientTraffic="Promote"), until(Phase.STABLE, "Promoted")],
        Phase.STABLE,
        "Promoted",
        serves="2",
        path=STEPS_TO_PROMOTION,
    ),
    "insufficient_traffic_rolls_back": Story(
        [requests_per_minute(0), asks_for("2", onInsufficientTraffic="Rollback"), until(Phase.ROLLED_BACK)],
        Phase.ROLLED_BACK,
        "InsufficientTraffic",
        serves="1",
    ),
    "step_shorter_than_an_interval_still_sees_its_requests": Story(
        [
            asks_for("2", steps=[{"weightPercent": 50, "duration": "0s"}], onInsufficientTraffic="Rollback"),
            until(Phase.STABLE, "Promoted"),
        ],
        Phase.STABLE,
        "Promoted",
        serves="2",
    ),
    # Scale.
    "scaling_during_canary": Story(
        [
            asks_for("2", most=20),
            wait("1m"),
            autoscaler_makes("1", 12),
            until(Phase.STABLE, "Promoted"),
        ],
        Phase.STABLE,
        "Promoted",
        serves="2",
        first={"most": 20},
    ),
    "autoscaler_cannot_shrink_stable_mid_canary": Story(
        [
            autoscaler_makes("1", 12),
            wait("1s"),
            asks_for("2", most=20),
            wait("1m"),
            autoscaler_makes("1", 4),
            wait("1m"),
        ],
        Phase.PROGRESSING,
        "Analyzing",
        serves="1",
        first={"most": 20},
    ),
}


@pytest.mark.parametrize("has_gateway", [False, True], ids=["replicas", "gateway"])
@pytest.mark.parametrize("story", [pytest.param(story, id=name) for name, story in STORIES.items()])
def test_story(story: Story, has_gateway: bool) -> None:
    world = deployed(spec_of("1", **story.first), has_gateway=has_gateway)
    for happening in story.happens:
        happening(world)
    world.settle()
    rollout = world.state.rollout
    assert (rollout.phase, rollout.reason, world.state.stable.version) == (story.ends, story.reason, story.serves)
    if story.path is not None:
        assert world.path == story.path
    if story.events is not None:
        assert world.events == story.events
    for part in story.says:
        assert part in rollout.message


def test_first_version_serves_before_it_is_stable() -> None:
    world = World(spec_of("1"))
    world.unready["1"] = 1
    world.settle()
    assert (world.state.rollout.phase, world.state.rollout.reason) == (Phase.INITIALIZING, "FirstDeployment")
    world.unready["1"] = 0
    world.settle()
    assert world.state.rollout.phase is Phase.STABLE
    assert world.events == ["Deployed"]
    assert schedule.next_visit(world.state, world.now) is None


def test_first_version_that_never_served_is_replaced_at_once() -> None:
    world = World(spec_of("1"))
    world.break_pods("1", "ModelLoadFailed", "not a model")
    world.run(timedelta(hours=2))
    assert world.state.rollout.phase is Phase.INITIALIZING
    world.ask(spec_of("2"))
    world.settle()
    assert world.path == ["Initializing", "Stable"]
    assert world.state.stable.version == "2"


def test_first_version_that_serves_with_too_few_pods_is_not_dropped_for_the_next() -> None:
    world = World(spec_of("1"))
    world.unready["1"] = 1
    world.settle()
    world.ask(spec_of("2"))
    world.run_until(Phase.STABLE, "Promoted")
    assert world.path == ["Initializing", *STEPS_TO_PROMOTION]


def test_weights_rise_step_by_step_and_fall_to_nothing() -> None:
    world = deployed(spec_of("1"))
    world.ask(spec_of("2"))
    world.run_until(Phase.STABLE, "Promoted")
    assert list(dict.fromkeys(world.weights)) == [0, 20, 50, 100]
    assert world.weights[-1] == 0


def test_the_applied_and_the_measured_weight_are_told() -> None:
    world = deployed(spec_of("1"))
    world.ask(spec_of("2"))
    world.run(timedelta(seconds=30))
    weight = world.state.rollout.weight
    assert (weight.desired, weight.applied, weight.measured) == (20, 20, 20)


def test_the_clock_of_a_step_starts_when_its_requests_flow() -> None:
    world = deployed(spec_of("1"))
    world.ask(spec_of("2"))
    world.visit()
    world.now += timedelta(minutes=1)
    world.visit()
    rollout = world.state.rollout
    assert (rollout.phase, rollout.stage, rollout.reason) == (Phase.PROGRESSING, Stage.SHIFT_TRAFFIC, "ShiftingTraffic")
    assert world.selected is None
    world.selected = world.state.stable.name  # the API server did not take the write
    world.now += timedelta(minutes=1)
    situation = world._situation()
    assert canary.step(situation).state.rollout.stage is Stage.SHIFT_TRAFFIC
    world.selected = None
    world.visit()
    assert world.state.rollout.stage is Stage.ANALYZING
    assert world.state.rollout.stage_started_at == START + timedelta(minutes=2)


def test_a_route_that_the_gateway_refuses_is_waited_for_and_told() -> None:
    world = deployed(spec_of("1"), has_gateway=True)
    world.ask(spec_of("2"))
    world.visit()
    world.visit()
    assert world.state.rollout.stage == "ShiftTraffic"
    assert world.route is not None
    world.route = replace(world.route, accepted=False, refusal="NotAllowedByListeners: no route from here")
    rollout = canary.step(world._situation()).state.rollout
    assert (rollout.stage, rollout.reason) == (Stage.SHIFT_TRAFFIC, "RouteNotAccepted")
    assert "NotAllowedByListeners: no route from here" in rollout.message
    world.visit()
    world.visit()
    assert world.state.rollout.stage is Stage.ANALYZING


def test_behind_a_gateway_weight_is_raised_after_the_pods_and_lowered_before_them() -> None:
    world = deployed(spec_of("1", replicas=4), has_gateway=True)
    world.ask(spec_of("2", replicas=4))
    world.run_until(Phase.PROGRESSING)
    world.run(timedelta(seconds=100))
    world.unready["2"] = 2
    world.run(timedelta(minutes=5))
    assert (world.state.rollout.step_index, world.state.rollout.stage) == (1, Stage.SCALING)
    assert world.state.rollout.weight.desired == 20
    world.unready["2"] = 0
    world.settle()
    assert world.state.rollout.weight.desired == 50
    world.break_pods("2", "CrashLoopBackOff", "exits")
    world.visit()
    assert world.route is not None
    assert world.route.weights == {world.state.stable.name: 100}
    assert world.wants(world.state.canary) == 2


def test_a_step_waits_for_its_pods_before_it_is_judged() -> None:
    world = deployed(spec_of("1"))
    world.ask(spec_of("2"))
    world.unready["2"] = 0
    world.run_until(Phase.PROGRESSING)
    world.run(timedelta(seconds=100))
    world.unready["2"] = 2
    world.run(timedelta(minutes=5))
    assert (world.state.rollout.step_index, world.state.rollout.stage) == (1, Stage.SCALING)
    world.unready["2"] = 0
    world.settle()
    assert world.state.rollout.stage is Stage.ANALYZING


STRICT: Wish = {
    "most": 9,
    "steps": [{"weightPercent": 25, "duration": "2m"}, {"weightPercent": 50, "duration": "2m"}],
    "traffic": {"precision": "Strict"},
}


def test_a_strict_weight_takes_the_pods_that_make_it_and_leaves_them_to_the_promoted() -> None:
    world = deployed(spec_of("1", **STRICT))
    world.ask(spec_of("2", **STRICT))
    world.run(timedelta(minutes=1))
    assert world.state.canary is not None
    assert [world.wants(one) for one in (world.state.stable, world.state.canary)] == [6, 2]
    assert (world.state.rollout.weight.applied, world.state.rollout.weight.measured) == (25, 25)
    world.scale("1", 8)
    world.settle()
    assert [world.wants(one) for one in (world.state.stable, world.state.canary)] == [9, 3], "8 make no quarter"
    world.run_until(Phase.STABLE, "Promoted")
    assert world.wants(world.state.stable) == 9


def test_a_strict_weight_without_room_for_its_stable_pods_is_never_made_otherwise() -> None:
    world = deployed(spec_of("1", **STRICT))
    world.unready["1"] = 2
    world.ask(spec_of("2", **STRICT))
    world.run_until(Phase.ROLLED_BACK)
    assert world.state.rollout.reason == "DeadlineExceeded"
    assert "Of version 1, 4 of 6 are, which the weight takes too." in world.state.rollout.message
    assert set(world.weights) == {0}, "two beside four would have had a third of the requests"


def test_no_look_is_taken_while_a_step_waits_for_its_pods() -> None:
    world = deployed(spec_of("1"))
    world.ask(spec_of("2"))
    world.run(timedelta(seconds=100))
    world.unready["2"] = 2
    world.run(timedelta(minutes=5))
    assert world.state.rollout.stage is Stage.SCALING
    assert schedule.next_look(world.state) is None
    assert schedule.next_visit(world.state, world.now) == START + timedelta(hours=1) - world.now


@pytest.mark.parametrize(
    ("before", "minimum", "baseline"),
    [
        pytest.param(9, 4, 9, id="as many as the autoscaler has made"),
        pytest.param(4, 7, 7, id="as many as the new spec asks for"),
    ],
)
def test_stable_keeps_what_it_has_when_a_rollout_begins(before: int, minimum: int, baseline: int) -> None:
    world = deployed(spec_of("1", most=20))
    world.scale("1", before)
    world.ask(spec_of("2", most=20, replicas=minimum))
    world.run(timedelta(minutes=1))
    assert world.state.rollout.baseline_replicas == baseline
    world.scale("1", 4)
    world.settle()
    assert world.wants(world.state.stable) == baseline


def test_metrics_may_be_away_for_ten_minutes() -> None:
    world = deployed(spec_of("1"))
    world.ask(spec_of("2"))
    world.metrics_work = False
    world.run(timedelta(seconds=30) + METRICS_PATIENCE - timedelta(seconds=1))
    assert world.state.rollout.metrics_missing_since == START + timedelta(seconds=30)
    assert world.path == ["CanaryStarting", "Progressing"]
    world.run(timedelta(seconds=1))
    assert world.path[-1] == "Paused"


def test_a_promotion_gives_all_requests_only_to_as_many_pods_as_stable_has() -> None:
    world = deployed(spec_of("1"))
    world.ask(spec_of("2"))
    world.run(timedelta(minutes=1))
    world.unready["2"] = 1
    world.command("promote")
    world.settle()
    assert (world.state.rollout.stage, world.selected) == (Stage.SCALE_UP, None)
    assert world.wants(world.state.canary) == world.wants(world.state.stable) == 4
    world.unready["2"] = 0
    world.settle()
    assert world.state.canary is not None
    assert (world.state.rollout.stage, world.selected) == (Stage.BAKE, world.state.canary.name)
    assert world.wants(world.state.stable) == 4


def test_hpa_replicas_untouched_across_promotion() -> None:
    world = deployed(spec_of("1", most=20))
    world.scale("1", 9)
    world.ask(spec_of("2", most=20))
    world.run_until(Phase.STABLE, "Promoted")
    assert world.wants(world.state.stable) == 9


def test_a_rollback_leaves_stable_as_it_was() -> None:
    world = deployed(spec_of("1", most=20))
    world.scale("1", 9)
    world.traffic.failing["2"] = 0.3
    world.ask(spec_of("2", most=20))
    world.run_until(Phase.ROLLED_BACK)
    assert world.pods.keys() == {world.state.stable.name}
    assert world.wants(world.state.stable) == 9
    assert world.selected == world.state.stable.name


def test_a_rollback_is_over_when_stable_has_all_requests() -> None:
    world = deployed(spec_of("1"))
    world.ask(spec_of("2"))
    world.run(timedelta(minutes=1))
    world.command("abort")
    world.visit()
    assert world.path[-1] == "RollingBack"
    world.selected = None  # the API server did not take the write
    situation = world._situation()
    assert canary.step(situation).state.rollout.phase is Phase.ROLLING_BACK
    world.settle()
    assert world.state.rollout.phase is Phase.ROLLED_BACK


def test_a_spec_that_goes_back_to_stable_during_the_rollback_is_at_rest() -> None:
    world = deployed(spec_of("1"))
    world.ask(spec_of("2"))
    world.run(timedelta(minutes=1))
    world.command("abort")
    world.visit()
    world.ask(spec_of("1"))
    world.settle()
    rollout = world.state.rollout
    assert (rollout.phase, rollout.reason) == (Phase.STABLE, "Reverted")
    assert rollout.message == "The spec asks for version 1 again, which serves."


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("1", "The spec asks for version 1 again; version 2 is taken out."),
        ("3", "The spec asks for version 3 now; version 2 is taken out first."),
    ],
)
def test_a_version_that_is_asked_for_no_longer_is_taken_out_and_not_blamed(version: str, message: str) -> None:
    world = deployed(spec_of("1"))
    world.ask(spec_of("2"))
    world.run(timedelta(minutes=1))
    world.ask(spec_of(version))
    world.visit()
    told = world.told[-1]
    assert (told.severity, told.reason, told.message) == ("Normal", "RollingBack", message)
    assert world.state.rollout.failed_revisions == ()


def test_one_broken_pod_of_stable_promotes_nothing() -> None:
    world = deployed(spec_of("1"))
    world.ask(spec_of("2"))
    world.run(timedelta(minutes=1))
    situation = world._situation()
    failures = {world.state.stable.name: PodFailure("fraud-x", "server", "OOMKilled", "killed")}
    observed = replace(situation.observed, failures=failures)
    assert observed.ready(world.state.stable.name) > 0
    assert canary.step(replace(situation, observed=observed)).state.rollout.phase is Phase.PROGRESSING


def test_a_retry_given_during_the_rollback_is_heard_after_it() -> None:
    world = deployed(spec_of("1"))
    world.ask(spec_of("2"))
    world.run(timedelta(minutes=1))
    world.command("abort")
    world.visit()
    world.command("retry")
    world.run_until(Phase.STABLE, "Promoted")
    assert world.state.stable.version == "2"


def test_a_command_is_carried_out_once() -> None:
    world = deployed(spec_of("1"))
    world.ask(spec_of("2"))
    world.run(timedelta(minutes=1))
    world.command("abort")
    world.run(timedelta(minutes=1))
    assert world.state.rollout.last_command == "c1"
    world.ask(spec_of("3"))
    world.run_until(Phase.STABLE, "Promoted")
    assert world.state.rollout.last_command == "c1"
    assert "StaleCommand" not in world.events


def test_a_rolled_back_revision_is_remembered_with_its_cause() -> None:
    world = deployed(spec_of("1"))
    for number in range(2, 14):
        version = str(number)
        world.break_pods(version, "ModelLoadFailed", f"model {version} is broken")
        world.ask(spec_of(version))
        world.settle()
    failed = world.state.rollout.failed_revisions
    assert [one.version for one in failed] == [str(number) for number in range(4, 14)]
    assert (failed[-1].reason, failed[-1].revision) == ("ModelLoadFailed", revision_of(spec_of("13")).name)
    assert "model 13 is broken" in failed[-1].message


def test_former_revisions_are_remembered_newest_last() -> None:
    world = deployed(spec_of("1"))
    for number in range(2, 14):
        world.ask(spec_of(str(number)))
        world.run_until(Phase.STABLE, "Promoted")
    former = world.state.rollout.former_revisions
    assert [one.version for one in former] == [str(number) for number in range(3, 13)]
    assert former[-1].until == world.state.rollout.stage_started_at
    world.ask(spec_of("5", rollbackWindow={"revisions": 10}))
    world.run_until(Phase.STABLE, "Promoted")
    assert [one.version for one in world.state.rollout.former_revisions] == ["3", "4"]


def test_the_evidence_of_the_last_rollout_stays() -> None:
    world = deployed(spec_of("1"))
    world.traffic.failing["2"] = 0.3
    world.ask(spec_of("2"))
    world.run_until(Phase.ROLLED_BACK)
    assert world.state.analysis is not None
    assert world.state.analysis.verdict is Verdict.FAIL
    assert world.state.rollout.policy is None
    assert world.state.rollout.deadline is None


def test_too_few_min_requests_are_told_when_a_rollout_starts() -> None:
    world = deployed(spec_of("1"))
    world.ask(spec_of("2", minRequests=100))
    world.visit()
    assert world.told[-1].reason == "CanaryStarted"
    assert "canary.analysis.minRequests of 100 is too low to show 'errors <= 1%'" in world.told[-1].message
    assert world.state.rollout.message == world.told[-1].message


def test_enough_min_requests_are_not_worth_a_word() -> None:
    world = deployed(spec_of("1"))
    world.ask(spec_of("2", minRequests=299))
    world.visit()
    assert world.told[-1].message == "Version 2 is being started beside version 1."


def test_contested_evidence_is_not_too_little_traffic() -> None:
    world = deployed(spec_of("1"))
    world.ask(spec_of("2", onInsufficientTraffic="Promote"))
    world.run(timedelta(minutes=1))
    assert world.state.analysis is not None
    contested = {"verdict": Verdict.INCONCLUSIVE, "step_requests": 5000, "message": "Not decided yet: errors"}
    world.state = replace(world.state, analysis=world.state.analysis.model_copy(update=contested))
    later = replace(world._situation(), now=world.now + timedelta(minutes=10))
    paused = canary.step(later).state
    assert (paused.rollout.phase, paused.rollout.reason) == (Phase.PAUSED, "Inconclusive")
    assert "can neither be passed nor rolled back. Not decided yet: errors" in paused.rollout.message
    assert paused.analysis is not None
    decided = replace(paused, analysis=paused.analysis.model_copy(update={"verdict": Verdict.PASS}))
    assert canary.step(replace(later, state=decided)).state.rollout.reason == "StepPassed"


@pytest.mark.parametrize(
    ("happens", "expected"),
    [
        pytest.param([], None, id="stable: nothing happens by itself"),
        pytest.param([keeps_unready("2", 1), asks_for("2"), wait("10m")], "50m", id="scaling: the deadline"),
        pytest.param([asks_for("2"), wait("35s")], "25s", id="analyzing: the next look"),
        pytest.param([asks_for("2", promotion="Manual"), until(Phase.PAUSED)], "30s", id="waiting for a person: looks"),
        pytest.param([asks_for("2"), metrics(work=False), wait("45s")], "30s", id="metrics away: an interval later"),
        pytest.param([asks_for("2"), until(Phase.PROMOTING)], "30s", id="bake: its end"),
    ],
)
def test_next_visit(happens: list[Happening], expected: str | None) -> None:
    world = deployed(spec_of("1"))
    for happening in happens:
        happening(world)
    world.settle()
    assert schedule.next_visit(world.state, world.now) == (parse_duration(expected) if expected else None)


def test_a_look_that_gave_nothing_is_taken_again_soon() -> None:
    world = deployed(spec_of("1"))
    world.ask(spec_of("2"))
    world.settle()
    assert schedule.next_visit(world.state, world.now + timedelta(minutes=10)) == timedelta(seconds=1)


def test_a_pause_for_want_of_metrics_names_what_failed() -> None:
    world = deployed(spec_of("1"))
    world.ask(spec_of("2"))
    world.metrics_work = False
    world.run(METRICS_PATIENCE)
    world.now += timedelta(minutes=1)
    situation = world._situation()
    assert isinstance(situation.look, MetricsUnavailableError)
    without_look = replace(situation, look=None)
    assert canary.step(without_look).state.rollout.phase is Phase.PROGRESSING
    assert "connection refused" in canary.step(situation).state.rollout.message
