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


@dataclass(frozen=True, slots=True)
class InvalidCommand:
    """What stands in a command's place and is none; `id` is the beginning of it, so that it is told of once."""

    id: str

    @property
    def message(self) -> str:
        """What is wrong with it and what it takes."""
        verbs = ", ".join(Verb)
        return (
            f"The annotation {COMMAND_ANNOTATION} begins with {self.id!r} and is not understood. It takes "
            "ID:VERB:REVISION: an ID that was not used before, of at most 64 letters, digits, '.', '_' and '-', one of "
            f"{verbs}, and the name of the revision. kubectl serinus status shows the commands that make sense now."
        )


def command_line(service: str, verb: Verb, revision: str, now: datetime) -> str:
    """What a person types to give a command that has not been given before; `service` is as in `digits -n vision`.

    Whoever is called at night may have no plugin, hence the long form too, last so that it can be copied to the end.
    """
    command = f"{now:%Y%m%dT%H%M%S}:{verb}:{revision}"
    annotate = f"kubectl annotate infsvc {service} --overwrite {COMMAND_ANNOTATION}={command}"
    return f"kubectl serinus {verb} {service}; without that plugin: {annotate}"


def parse_command(text: str) -> Command | InvalidCommand | None:
    """Read `<id>:<verb>:<revision>`; None if it is empty."""
    if not text:
        return None
    match = _FORM.match(text)
    if match is None or match["verb"] not in list(Verb):
        return InvalidCommand(text[:64])
    return Command(match["id"], Verb(match["verb"]), match["revision"])
