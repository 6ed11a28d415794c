"""Services as the plugin reads them, in situations that simulated rollouts have come to."""

from dataclasses import replace

from serinus.api.status import InferenceServiceStatus
from serinus.core import canary
from serinus.core.command import Command, Verb
from serinus.core.report import status_of
from serinus.kubectl.service import Service
from tests.unit.core.rollouts import World


def service_of(world: World, *, generation: int = 1) -> Service:
    """The InferenceService of a simulated world, as its operator has written it."""
    status = status_of(
        world.state, world.observed(), (), InferenceServiceStatus(), 1, "http://digits.vision.svc", world.now
    )
    manifest = {
        "metadata": {"namespace": "vision", "name": "digits", "uid": "u1", "generation": generation},
        "spec": world.spec.model_dump(mode="json", by_alias=True, exclude_none=True),
        "status": status.to_wire(),
    }
    return Service.read(manifest)


def does_something(world: World, verb: Verb, revision: str) -> bool:
    """Whether the operator, in its own code, does anything on a command beside noting it."""
    situation = replace(world._situation(), look=None)
    with_command = replace(situation, command=Command("new", verb, revision))
    after, idle = (canary.step(one).state for one in (with_command, situation))
    noted = replace(after, rollout=after.rollout.model_copy(update={"last_command": idle.rollout.last_command}))
    return noted != idle
