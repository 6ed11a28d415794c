"""The former spec is applied again, whichever field was changed: the children are what they were."""

from typing import Any, Final

import pytest

from serinus.api.v1beta1 import InferenceServiceSpec
from serinus.ports import Manifest
from tests.unit.operator.test_every_spec_field_has_an_effect import EFFECTS, Spec
from tests.unit.operator.test_reconciler import Bench, deployed

NEEDS_A_GATEWAY: Final = {"canary.traffic.mode"}
"""This platform has none."""

STARTS_A_ROLLOUT: Final = [
    path for path in EFFECTS if path == "restartedAt" or path.startswith(("model.", "resources."))
]
CHANGED_AT_ONCE: Final = sorted(EFFECTS.keys() - {*STARTS_A_ROLLOUT, *NEEDS_A_GATEWAY})

ABSENT: Final[Spec] = dict.fromkeys(str(one.alias) for one in InferenceServiceSpec.model_fields.values())


def apply(bench: Bench, spec: Spec) -> None:
    """Have the service say `spec` and nothing else."""
    bench.cluster.edit(**ABSENT | spec)


def standing(bench: Bench) -> tuple[dict[tuple[str, str], Manifest], Any]:
    """The children, the revision that serves and those held to have failed; not how many rollouts there have been."""
    children = bench.children()
    stable = bench.cluster.status["stable"]
    for (kind, name), manifest in list(children.items()):
        if kind == "ControllerRevision" and name != f"fraud-{stable['revision']}":
            del children[kind, name]
        elif kind == "ControllerRevision":
            del manifest["revision"]
    return children, (stable, bench.cluster.status["rollout"]["failedRevisions"])


@pytest.mark.parametrize("path", CHANGED_AT_ONCE)
def test_revert_restores_the_former_state(path: str) -> None:
    former, other = EFFECTS[path].specs(path)
    bench = deployed(**former)
    before = standing(bench)
    apply(bench, other)
    bench.settle()
    apply(bench, former)
    bench.settle()
    assert standing(bench) == before
    assert bench.phase == "Stable"


@pytest.mark.parametrize("path", STARTS_A_ROLLOUT)
def test_revert_in_mid_canary_restores_the_former_state(path: str) -> None:
    """Without a judgement: what the spec goes back to has served all along."""
    former, other = EFFECTS[path].specs(path)
    bench = deployed(**former)
    before = standing(bench)
    apply(bench, other)
    bench.run_until("Progressing", "Analyzing")
    assert standing(bench) != before
    apply(bench, former)
    bench.run_until("Stable", "Reverted")
    bench.settle()
    assert standing(bench) == before
    assert bench.metrics.queries == []


@pytest.mark.parametrize("path", STARTS_A_ROLLOUT)
def test_revert_after_a_promotion_restores_the_former_state(path: str) -> None:
    former, other = EFFECTS[path].specs(path)
    bench = deployed(**former)
    before = standing(bench)
    for spec, is_former in ((other, False), (former, True)):
        apply(bench, spec)
        bench.run_until("Progressing")
        bench.run_until("Stable", "Promoted")
        bench.settle()
        assert (standing(bench) == before) is is_former
