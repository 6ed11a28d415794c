"""The one-time commands that a person gives by the annotation serinus.dev/command."""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from serinus.core.names import COMMAND_ANNOTATION

_FORM: Final = re.compile(r"^(?P<id>[A-Za-z0-9._-]{1,64}):(?P<verb>[a-z]+):(?P<revision>[0-9a-f]{1,63})$")


PAUSED_BY_COMMAND: Final = "PausedByCommand"
"""The reason of a pause that a person asked for."""


class Verb(StrEnum):
    """What can be asked for."""

    PROMOTE = "promote"
    ABORT = "abort"
    RETRY = "retry"
    PAUSE = "pause"
    RESUME = "resume"


@dataclass(frozen=True, slots=True)
class Command:
    """One command; `id` tells one that is done from one that is new."""

    id: str
    verb: Verb
    revision: str


def command_line(service: str, verb: Verb, revision: str, now: datetime) -> str:
    """What a person types to give a command that has not been given before; `service` is as in `digits -n vision`.

    Whoever is called at night may have no plugin, hence the long form too, last so that it can be copied to the end.
    """
    command = f"{now:%Y%m%dT%H%M%S}:{verb}:{revision}"
    annotate = f"kubectl annotate infsvc {service} --overwrite {COMMAND_ANNOTATION}={command}"
    return f"kubectl serinus {verb} {service}; without that plugin: {annotate}"


def parse_command(text: str) -> Command | None:
    """Read `<id>:<verb>:<revision>`; None for anything else."""
    match = _FORM.match(text)
    if match is None or match["verb"] not in list(Verb):
        return None
    return Command(match["id"], Verb(match["verb"]), match["revision"])
