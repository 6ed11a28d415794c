"""Which revision is asked for when the platform's pod template changes."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import pytest

from serinus.api.status import FailedRevision, FormerRevision, Phase, Rollout
from serinus.api.v1beta1 import InferenceServiceSpec
from serinus.config import ServerSettings
from serinus.core.identity import Identity
from serinus.core.observe import Observed
from serinus.core.pod_template import pod_template
from serinus.core.revision import Revision, digest_of, is_of, revision_of
from serinus.core.state import State
from serinus.core.template_updates import asked_revision, deployed_revision, template_changes
from tests.unit.core.rollouts import START

FRAUD: Final = Identity("risk", "fraud", "uid-1")


def server_of(image: str, updates: str) -> ServerSettings:
    return ServerSettings.model_validate({"image": image, "templateUpdates": updates})


def spec_of(version: str) -> InferenceServiceSpec:
    return InferenceServiceSpec.model_validate({"model": {"uri": f"s3://m/{version}.onnx", "version": version}})


def updated(version: str, image: str) -> Revision:
    """The revision of `version` whose name covers the template with `image`."""
    spec = spec_of(version)
    template = pod_template(FRAUD, spec, Revision("", version), server_of(image, "Pinned"))
    return revision_of(spec, digest_of(template))


A, B = spec_of("a"), spec_of("b")
PLAIN_A, PLAIN_B = revision_of(A), revision_of(B)
A_1, A_2, A_3, B_2 = updated("a", "s:1"), updated("a", "s:2"), updated("a", "s:3"), updated("b", "s:2")


def former(revision: Revision, minute: int) -> FormerRevision:
    until = START + timedelta(minutes=minute)
    return FormerRevision(revision=revision.name, version=revision.version, template=revision.template, until=until)


def failed(revision: Revision, minute: int) -> FailedRevision:
    name, version, template = revision.name, revision.version, revision.template
    at = START + timedelta(minutes=minute)
    return FailedRevision(
        revision=name, version=version, template=template, reason="OOMKilled", message="It fell.", at=at
    )


@dataclass(frozen=True, kw_only=True)
class Case:
    """Version a or b is asked for, while pods are rendered with `image`; where `updates` is None, in either mode."""

    image: str
    stable: Revision | None
    expected: Revision
    spec: InferenceServiceSpec = A
    canary: Revision | None = None
    updates: str | None = None
    pinned: dict[Revision, str] = field(default_factory=dict)
    """The image that each revision is pinned to."""
    former: tuple[FormerRevision, ...] = ()
    failed: tuple[FailedRevision, ...] = ()

    def state(self) -> State | None:
        if self.stable is None:
            return None
        rollout = Rollout(phase=Phase.STABLE, former_revisions=self.former, failed_revisions=self.failed)
        return State(self.stable, self.canary, rollout)

    def observed(self) -> Observed:
        specs = {"a": A, "b": B}
        pinned = {
            revision.name: pod_template(FRAUD, specs[revision.version], revision, server_of(image, "Pinned"))
            for revision, image in self.pinned.items()
        }
        return Observed(pinned=pinned)


CASES: Final[dict[str, Case]] = {
    # The first visit.
    "first_visit": Case(image="s:1", stable=None, expected=PLAIN_A),
    "status_lost": Case(image="s:1", stable=None, pinned={PLAIN_A: "s:1"}, expected=PLAIN_A),
    "status_lost_after_an_update": Case(image="s:2", stable=None, pinned={A_2: "s:2"}, expected=A_2),
    # The template is the same.
    "nothing_changed": Case(image="s:1", stable=PLAIN_A, pinned={PLAIN_A: "s:1"}, expected=PLAIN_A),
    "nothing_changed_since_an_update": Case(image="s:2", stable=A_2, pinned={A_2: "s:2"}, expected=A_2),
    "stable_not_pinned_yet": Case(image="s:2", stable=PLAIN_A, expected=PLAIN_A),
    # The template has changed.
    "pinned": Case(image="s:2", stable=PLAIN_A, pinned={PLAIN_A: "s:1"}, updates="Pinned", expected=PLAIN_A),
    "pinned_again": Case(image="s:3", stable=A_2, pinned={A_2: "s:2"}, updates="Pinned", expected=A_2),
    "changed": Case(image="s:2", stable=PLAIN_A, pinned={PLAIN_A: "s:1"}, updates="Canary", expected=A_2),
    "changed_again": Case(image="s:3", stable=A_2, pinned={A_2: "s:2"}, updates="Canary", expected=A_3),
    "changed_back_to_one_that_is_kept": Case(
        image="s:1",
        stable=A_2,
        pinned={PLAIN_A: "s:1", A_2: "s:2"},
        former=(former(PLAIN_A, 1),),
        updates="Canary",
        expected=PLAIN_A,
    ),
    "changed_back_to_one_that_is_not_kept": Case(
        image="s:1", stable=A_2, pinned={A_2: "s:2"}, former=(former(PLAIN_A, 1),), updates="Canary", expected=A_1
    ),
    # During a rollout of another template.
    "rollout_of_a_template": Case(
        image="s:2", stable=PLAIN_A, canary=A_2, pinned={PLAIN_A: "s:1", A_2: "s:2"}, expected=A_2
    ),
    "rollout_begun_and_nothing_made": Case(
        image="s:2", stable=PLAIN_A, canary=A_2, pinned={PLAIN_A: "s:1"}, expected=A_2
    ),
    "rollout_whose_stable_revision_is_not_seen": Case(
        image="s:2", stable=PLAIN_A, canary=A_2, pinned={A_2: "s:2"}, expected=A_2
    ),
    "changed_again_meanwhile": Case(
        image="s:3", stable=PLAIN_A, canary=A_2, pinned={PLAIN_A: "s:1", A_2: "s:2"}, expected=A_2
    ),
    "changed_back_meanwhile": Case(
        image="s:1",
        stable=PLAIN_A,
        canary=A_2,
        pinned={PLAIN_A: "s:1", A_2: "s:2"},
        updates="Canary",
        expected=PLAIN_A,
    ),
    # During a rollout of another model, or after it has failed.
    "rollout_of_a_model": Case(
        spec=B, image="s:2", stable=PLAIN_A, canary=PLAIN_B, pinned={PLAIN_A: "s:1", PLAIN_B: "s:1"}, expected=PLAIN_B
    ),
    "another_model": Case(spec=B, image="s:2", stable=A_2, pinned={A_2: "s:2"}, expected=PLAIN_B),
    "failed_model": Case(
        spec=B, image="s:2", stable=PLAIN_A, pinned={PLAIN_A: "s:1"}, failed=(failed(PLAIN_B, 1),), expected=PLAIN_B
    ),
    "model_that_served_before": Case(
        spec=B,
        image="s:3",
        stable=A_2,
        former=(former(PLAIN_B, 1), former(B_2, 2)),
        pinned={A_2: "s:2"},
        expected=B_2,
    ),
    "model_that_served_before_and_failed_with_a_newer_template": Case(
        spec=B,
        image="s:2",
        stable=PLAIN_A,
        former=(former(PLAIN_B, 2),),
        failed=(failed(B_2, 1),),
        expected=PLAIN_B,
    ),
    "model_that_served_before_and_failed_when_it_came_back": Case(
        spec=B,
        image="s:2",
        stable=PLAIN_A,
        former=(former(PLAIN_B, 1),),
        failed=(failed(B_2, 2),),
        expected=B_2,
    ),
    # After another template has failed.
    "failed_template": Case(
        image="s:2",
        stable=PLAIN_A,
        pinned={PLAIN_A: "s:1", A_2: "s:2"},
        failed=(failed(A_2, 1),),
        updates="Canary",
        expected=A_2,
    ),
    "failed_template_that_is_not_kept": Case(
        image="s:2",
        stable=PLAIN_A,
        pinned={PLAIN_A: "s:1"},
        failed=(failed(A_2, 1),),
        updates="Canary",
        expected=A_2,
    ),
    "failed_template_mended": Case(
        image="s:3",
        stable=PLAIN_A,
        pinned={PLAIN_A: "s:1", A_2: "s:2"},
        failed=(failed(A_2, 1),),
        updates="Canary",
        expected=A_3,
    ),
    "failed_template_taken_back": Case(
        image="s:1", stable=PLAIN_A, pinned={PLAIN_A: "s:1"}, failed=(failed(A_2, 1),), expected=PLAIN_A
    ),
    "failed_template_pinned": Case(
        image="s:2",
        stable=PLAIN_A,
        pinned={PLAIN_A: "s:1"},
        failed=(failed(A_2, 1),),
        updates="Pinned",
        expected=PLAIN_A,
    ),
}


@pytest.mark.parametrize(
    ("case", "updates"),
    [
        pytest.param(case, updates, id=f"{name}-{updates}")
        for name, case in CASES.items()
        for updates in ([case.updates] if case.updates else ["Pinned", "Canary"])
    ],
)
def test_asked_revision(case: Case, updates: str) -> None:
    asked = asked_revision(FRAUD, case.spec, case.state(), case.observed(), server_of(case.image, updates))
    assert asked == case.expected


def test_a_name_covers_the_template_only_where_it_is_told_to() -> None:
    assert len({PLAIN_A.name, A_1.name, A_2.name, A_3.name, PLAIN_B.name, B_2.name}) == 6
    assert [is_of(one, A) for one in (PLAIN_A, A_2, PLAIN_B, B_2, Revision(A_2.name, "a"))] == [
        True,
        True,
        False,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("asked", "stable", "canary", "expected"),
    [
        pytest.param(PLAIN_A, PLAIN_A, None, PLAIN_A, id="stable"),
        pytest.param(A_2, PLAIN_A, A_2, A_2, id="canary"),
        pytest.param(A_2, PLAIN_A, None, PLAIN_A, id="template rolled back"),
        pytest.param(PLAIN_A, PLAIN_A, A_2, PLAIN_A, id="template taken back"),
        pytest.param(PLAIN_A, PLAIN_B, None, None, id="model rolled back"),
    ],
)
def test_deployed_revision(
    asked: Revision, stable: Revision, canary: Revision | None, expected: Revision | None
) -> None:
    assert deployed_revision(A, State(stable, canary, Rollout()), asked) == expected


def test_template_changes() -> None:
    case = CASES["changed"]
    names: list[Any] = [
        template_changes(FRAUD, A, revision, case.observed(), server_of(image, "Canary"))
        for revision, image in ((PLAIN_A, "s:2"), (PLAIN_A, "s:1"), (A_2, "s:2"))
    ]
    change = "image: s:1 -> s:2"
    assert names == [(f"spec.initContainers[fetch].{change}", f"spec.containers[server].{change}"), (), ()]
