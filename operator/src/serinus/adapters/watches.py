"""What the watches are heard of: when last, and whether one lost its place, so that something may have been missed.

kopf opens the watches and keeps them open, and says little about it. So its requests are traced, and the events noted.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import SimpleNamespace

import aiohttp
from yarl import URL

from serinus import telemetry
from serinus.core.api_request import namespace_of, resource_of, verb_of

Stream = tuple[str, str]
"""The resource, and the namespace or the empty string for all."""


@dataclass(slots=True)
class WatchLog:
    """Keeps when each watch was last heard of, in seconds of a monotonic clock."""

    clock: Callable[[], float]
    resources: frozenset[str]
    on_place_lost: Callable[[str], object]
    """Called with the resource when it is listed again: what was deleted in between is never told, and kopf goes on
    to hold it. The only remedy is to begin anew."""
    _heard: dict[Stream, float] = field(default_factory=dict)
    _listed: set[Stream] = field(default_factory=set)
    _answered: float = float("-inf")

    def ages(self) -> Mapping[str, float]:
        """Seconds since each resource was last heard of, in the namespace of which that is longest ago."""
        now = self.clock()
        ages: dict[str, float] = {}
        for (resource, _), heard in self._heard.items():
            ages[resource] = max(now - heard, ages.get(resource, 0.0))
        return ages

    def since_answer(self) -> float:
        """Seconds since the API server last answered a list or a watch."""
        return self.clock() - self._answered

    def event(self, resource: str, namespace: str) -> None:
        """Note an event of a watch that covers `namespace`."""
        stream = (resource, namespace) if (resource, namespace) in self._heard else (resource, "")
        self._heard[stream] = self.clock()

    def answered(self, verb: str, url: URL) -> None:
        """Note that a list or a watch was answered with success."""
        self._answered = now = self.clock()
        resource = resource_of(url.path)
        if resource not in self.resources or verb not in ("LIST", "WATCH"):
            return
        stream = resource, namespace_of(url.path)
        self._heard[stream] = now
        if verb == "WATCH" or "continue" in url.query:
            return
        if stream in self._listed:
            self.on_place_lost(resource)
        self._listed.add(stream)

    def trace(self) -> aiohttp.TraceConfig:
        """Makes an aiohttp session count its requests, and note their answers here."""
        trace = aiohttp.TraceConfig()
        trace.on_request_start.append(self._begin)
        trace.on_request_end.append(self._end)
        trace.on_request_exception.append(self._fail)
        return trace

    async def _begin(
        self, _: aiohttp.ClientSession, context: SimpleNamespace, __: aiohttp.TraceRequestStartParams
    ) -> None:
        context.begun = self.clock()

    async def _end(
        self, _: aiohttp.ClientSession, context: SimpleNamespace, parameters: aiohttp.TraceRequestEndParams
    ) -> None:
        verb = _verb(parameters.method, parameters.url)
        self._count(verb, parameters.url, str(parameters.response.status), context)
        if parameters.response.status < HTTPStatus.BAD_REQUEST:
            self.answered(verb, parameters.url)

    async def _fail(
        self, _: aiohttp.ClientSession, context: SimpleNamespace, parameters: aiohttp.TraceRequestExceptionParams
    ) -> None:
        self._count(_verb(parameters.method, parameters.url), parameters.url, "none", context)

    def _count(self, verb: str, url: URL, code: str, context: SimpleNamespace) -> None:
        telemetry.count_request(verb, resource_of(url.path), code, self.clock() - context.begun)


def _verb(method: str, url: URL) -> str:
    return verb_of(method, url.path, watches=url.query.get("watch") == "true")
