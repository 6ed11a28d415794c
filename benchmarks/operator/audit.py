"""What the API server's audit log says that the operator has asked of it, and when."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Asked:
    """A request that is over."""

    user: str
    verb: str
    resource: str
    """With the subresource."""
    service: str
    """The InferenceService that the object belongs to, from its name; empty for a collection."""
    code: int
    begun: float
    ended: float
    """Unix seconds."""

    def makes_one_of(self, children: frozenset[str]) -> bool:
        """Whether this is the write that made an object of a service, of one of these resources."""
        return self.verb in ("create", "patch") and self.resource in children and self.code == HTTPStatus.CREATED


def read(path: Path) -> list[Asked]:
    """All requests of the audit log."""
    with path.open() as lines:
        return [_asked(json.loads(line)) for line in lines]


def _asked(event: dict[str, Any]) -> Asked:
    place = event.get("objectRef", {})
    subresource = place.get("subresource")
    return Asked(
        user=event["user"]["username"],
        verb=event["verb"],
        resource=place.get("resource", "") + (f"/{subresource}" if subresource else ""),
        service=place.get("name", "").partition("-")[0].partition(".")[0],
        code=event.get("responseStatus", {}).get("code", 0),
        begun=_seconds(event["requestReceivedTimestamp"]),
        ended=_seconds(event["stageTimestamp"]),
    )


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()


def since_created(asked: Iterable[Asked], user: str, children: frozenset[str]) -> dict[str, float]:
    """By service: seconds from its creation until `user` had made its last child; only those that have all."""
    created: dict[str, float] = {}
    last: dict[str, float] = {}
    made: Counter[str] = Counter()
    for one in asked:
        if one.resource == "inferenceservices" and one.verb == "create":
            created[one.service] = one.ended
        elif one.user == user and one.makes_one_of(children):
            last[one.service] = max(one.ended, last.get(one.service, 0.0))
            made[one.service] += 1
    return {service: last[service] - at for service, at in created.items() if made[service] == len(children)}


def throughput(asked: Iterable[Asked], user: str, children: frozenset[str]) -> float:
    """Services a second, from the first creation until the last child was made."""
    asked = list(asked)
    created = [one.begun for one in asked if one.resource == "inferenceservices" and one.verb == "create"]
    made = [one.ended for one in asked if one.user == user and one.makes_one_of(children)]
    return len(created) / (max(made) - min(created))


def by_verb(asked: Iterable[Asked], user: str) -> Counter[str]:
    """How often `user` asked for each verb and resource about a service; watches and the election are left out."""
    return Counter(f"{one.verb} {one.resource}" for one in _about_services(asked, user))


def _about_services(asked: Iterable[Asked], user: str) -> Iterator[Asked]:
    for one in asked:
        if one.user == user and one.verb != "watch" and one.service and one.resource != "leases":
            yield one


def percentile(values: Iterable[float], percent: float) -> float:
    """The smallest value that so many percent of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(math.ceil(len(ordered) * percent / 100) - 1, 0)]
