"""A platform that rolls changed pod templates out by itself: as a canary of each service, and never otherwise."""

import copy
import itertools

import pytest

from serinus.config import Settings
from serinus.reconciler import Reconciler
from tests.unit.operator.test_reconciler import Bench, KilledError, deployed, killer, told_of


def operated(bench: Bench, *, image: str, updates: str = "Canary") -> Bench:
    """The same service under an operator that is told so."""
    server = {"image": image, "templateUpdates": updates}
    settings = Settings.model_validate({"server": server, "prometheus": {"url": "http://p"}})
    bench.reconciler = Reconciler(bench.cluster, bench.metrics, bench.recorder, settings, bench.clock)
    return bench


ONE, TWO, THREE = (f"registry.example/serinus-server:{number}" for number in (1, 2, 3))


def images(bench: Bench) -> set[str]:
    return {
        one["spec"]["template"]["spec"]["containers"][0]["image"]
        for (kind, _), one in bench.cluster.objects.items()
        if kind == "Deployment"
    }


def template_up_to_date(bench: Bench) -> tuple[str, str]:
    told = bench.cluster.condition("TemplateUpToDate")
    assert told is not None
    return told["status"], told["reason"]


def canary_of(bench: Bench) -> str:
    return str(bench.cluster.status["canary"]["revision"])


def rolled_back() -> Bench:
    """A service whose new image has failed."""
    bench = operated(deployed(), image=TWO)
    bench.run_until("Progressing")
    bench.metrics.failing[canary_of(bench)] = 0.3
    bench.run_until("RolledBack")
    return bench


def test_a_changed_template_goes_through_the_canary() -> None:
    bench = operated(deployed(), image=TWO)
    bench.run_until("Progressing")
    assert images(bench) == {ONE, TWO}
    stable, canary = bench.cluster.status["stable"]["revision"], canary_of(bench)
    bench.run_until("Stable", "Promoted")
    assert [(reason, message.partition(".")[0]) for _, reason, message in bench.recorder.told] == [
        (
            "CanaryStarted",
            f"The pods of version 1 are renewed: revision {canary}, which has the platform's present pod template, is "
            f"being started beside revision {stable}",
        ),
        ("StepStarted", "Step 1 of 1: the renewed version 1 gets 50% of the requests and is judged"),
        ("Promoting", "The renewed version 1 is promoted: The renewed version 1 passed all steps"),
        ("Promoted", "The renewed version 1 was promoted and serves all requests"),
    ]
    assert images(bench) == {TWO}
    assert template_up_to_date(bench) == ("True", "UpToDate")


def test_after_it_there_is_nothing_to_write() -> None:
    bench = operated(deployed(), image=TWO)
    bench.run_until("Stable", "Promoted")
    before = copy.deepcopy(bench.cluster.service), bench.children()
    bench.cluster.take_calls()
    operated(bench, image=TWO).settle()
    assert bench.cluster.take_calls() == []
    assert (bench.cluster.service, bench.children()) == before


def test_turning_the_updates_on_and_off_writes_nothing() -> None:
    bench = deployed()
    operated(bench, image=ONE).settle()
    assert bench.cluster.take_calls() == []
    operated(bench, image=TWO).run_until("Stable", "Promoted")
    bench.cluster.take_calls()
    operated(bench, image=TWO, updates="Pinned").settle()
    assert bench.cluster.take_calls() == []


def test_a_template_that_fails_is_rolled_back_and_not_tried_again() -> None:
    bench = rolled_back()
    assert bench.recorder.told[-1][2].startswith("The renewed version 1 was rolled back, the one before it serves. ")
    assert images(bench) == {ONE}
    assert template_up_to_date(bench) == ("False", "TemplateRolledBack")
    bench.cluster.take_calls()
    operated(bench, image=TWO).settle()
    assert bench.cluster.take_calls() == []


def test_a_template_that_fails_is_tried_again_by_command() -> None:
    bench = rolled_back()
    (entry,) = bench.cluster.status["rollout"]["failedRevisions"]
    bench.metrics.failing.clear()
    bench.cluster.annotate(f"c1:retry:{entry['revision']}")
    bench.run_until("Stable", "Promoted")
    assert images(bench) == {TWO}


def test_a_mended_template_is_tried_by_itself() -> None:
    bench = operated(rolled_back(), image=THREE)
    bench.run_until("Stable", "Promoted")
    assert images(bench) == {THREE}


def test_a_failed_template_is_forgotten_where_templates_are_pinned() -> None:
    bench = operated(rolled_back(), image=TWO, updates="Pinned")
    bench.run_until("Stable")
    assert images(bench) == {ONE}
    assert template_up_to_date(bench) == ("False", "TemplateChanged")


def test_an_operator_that_goes_back_mid_canary_takes_the_template_back() -> None:
    bench = deployed()
    stable = bench.cluster.status["stable"]["revision"]
    operated(bench, image=TWO).run_until("Progressing")
    operated(bench, image=ONE).run_until("Stable")
    assert images(bench) == {ONE}
    assert bench.cluster.status["stable"]["revision"] == stable
    assert bench.cluster.status["rollout"].get("failedRevisions", []) == []


def test_a_rollout_of_a_model_is_finished_before_the_template_changes() -> None:
    bench = deployed()
    bench.cluster.ask("2")
    bench.run_until("Progressing")
    canary = canary_of(bench)
    operated(bench, image=TWO).settle()
    assert canary_of(bench) == canary
    assert template_up_to_date(bench) == ("False", "TemplateChanged")
    bench.run_until("Stable", "Promoted")
    assert bench.cluster.status["stable"]["version"] == "2"
    assert images(bench) == {TWO}
    assert [one["version"] for one in bench.cluster.status["rollout"]["formerRevisions"]] == ["1", "2"]


def test_a_failed_model_is_not_tried_again_with_another_template() -> None:
    bench = deployed()
    bench.cluster.ask("2")
    bench.run_until("Progressing")
    bench.metrics.failing[canary_of(bench)] = 0.3
    bench.run_until("RolledBack")
    bench.metrics.failing.clear()
    bench.cluster.take_calls()
    operated(bench, image=TWO).settle()
    assert bench.cluster.take_calls() == []
    assert bench.phase == "RolledBack"


def test_a_first_deployment_that_does_not_come_up_gets_the_new_template_at_once() -> None:
    bench = Bench()
    bench.cluster.unready.add("1")
    bench.settle()
    operated(bench, image=TWO).settle()
    assert images(bench) == {TWO}
    assert bench.phase == "Initializing"
    bench.cluster.unready.clear()
    bench.run_until("Stable")
    assert bench.cluster.status.get("canary") is None


def test_an_upgraded_operator_killed_before_and_after_every_write() -> None:
    """Wherever it dies, the next one ends up where an undisturbed one does."""
    undisturbed, moments = operated(deployed(), image=TWO), itertools.count()
    undisturbed.cluster.interrupt(lambda: next(moments))
    undisturbed.run_until("Stable", "Promoted")
    number = next(moments)
    assert number > 20
    for moment in range(number):
        bench = operated(deployed(), image=TWO)
        bench.cluster.interrupt(killer(moment))
        with pytest.raises(KilledError):
            bench.run_until("Stable", "Promoted")
        operated(bench, image=TWO).run_until("Stable", "Promoted")
        assert told_of(bench) == told_of(undisturbed), f"killed at write {moment}"
