"""What the reconciler needs of the outside world, as protocols that the adapters implement."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

Manifest = dict[str, Any]
"""A Kubernetes object in its JSON form."""


class MetricsUnavailableError(Exception):
    """The metrics cannot be trusted now: Prometheus erred or timed out, or ready pods are not scraped."""


@dataclass(frozen=True, slots=True)
class MetricsQuery:
    """One look at the metrics of a service's revisions."""

    namespace: str
    service: str
    ready_pods: Mapping[str, int]
    """Ready pods of each revision that must be scraped; keys are the revisions asked for."""
    since: datetime | None
    """End of the look before; None at the first look."""
    now: datetime
    interval: timedelta
    """The window at the first look; never less than two scrapes."""
    latency_thresholds: Mapping[int, float] = field(default_factory=dict)
    """Seconds, by the percentile that is held to them."""


@dataclass(frozen=True, slots=True)
class RevisionSample:
    """Requests of one revision within a window."""

    requests: int
    errors: int
    timed: int
    """Requests that succeeded, and so have a duration."""
    slow: Mapping[int, int] = field(default_factory=dict)
    """Those of them over the threshold of each percentile; none where one is left out."""
    latencies: Mapping[int, float] = field(default_factory=dict)
    """Seconds at each percentile, where there were requests. To show, not to decide."""


@dataclass(frozen=True, slots=True)
class MetricsSample:
    """What one look saw. Windows of successive looks do not overlap."""

    until: datetime
    revisions: Mapping[str, RevisionSample]
    query: str = ""
    """What was asked, for a person to ask again."""


class Metrics(Protocol):
    """Where request counts come from."""

    def sample(self, query: MetricsQuery) -> MetricsSample | None:
        """Count the requests since the last look; None while the window would be under two scrapes.

        Raises MetricsUnavailableError when the counts cannot be trusted.
        """
        ...


class ApiConflictError(Exception):
    """The API server refused a write because the object has changed meanwhile, or belongs to someone else."""


class ApiRefusedError(Exception):
    """The API server refused a write for good: the same request will be refused again. The message says why."""


class NamespaceTerminatingError(ApiRefusedError):
    """The namespace is being deleted: nothing is created in it any more."""


class ApiUnavailableError(Exception):
    """The API server did not do what was asked, for a reason that may pass."""

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        """`retry_after` are seconds that the server has asked to be left alone for."""
        super().__init__(message)
        self.retry_after = retry_after


class NotLeadingError(Exception):
    """Another replica of the operator leads, or may: nothing was sent."""


class Kube(Protocol):
    """Writes to the Kubernetes API. Each returns the object as it then is.

    Raises ApiConflictError, ApiRefusedError, or any other exception for a fault that may pass.
    """

    def apply(self, manifest: Manifest, *, force: bool, replicas: int | None = None) -> Manifest:
        """Server-side apply; with `force`, fields of other managers are taken over.

        Without it, the object is thought to be new: a Deployment begins with `replicas`, which it is not held to.
        """
        ...

    def scale(self, namespace: str, name: str, replicas: int) -> None:
        """Set a Deployment's replicas through its scale subresource."""
        ...

    def delete(self, manifest: Manifest) -> None:
        """Delete the object with this name and uid, and what it owns; one that is gone already is fine."""
        ...

    def write_status(self, manifest: Manifest, status: Manifest) -> Manifest:
        """Replace the status of the InferenceService, if it is still at the resourceVersion of `manifest`."""
        ...


class Recorder(Protocol):
    """Tells the users what happened."""

    def event(self, manifest: Manifest, severity: str, reason: str, message: str) -> None:
        """Record a Kubernetes event on the object; failing to is logged and forgotten."""
        ...


class Clock(Protocol):
    """The time."""

    def __call__(self) -> datetime:
        """Now, in UTC."""
        ...
