"""What `policy.json` says: how much clients may ask for, and who may ask at all."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from math import ceil, isfinite
from typing import Any, Final

import orjson

POLICY_FILE: Final = "policy.json"
_MAX_PERCENT: Final = 100
_MAX_TENSOR_BYTES: Final = 4096


class InvalidPolicyError(ValueError):
    """The file is at fault; the message says where and how."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on requests; None is no bound.

    `burst` requests may come at once after a pause, and `requests_per_second` go on; there is a burst where there
    is a rate.
    """

    requests_per_second: float | None = None
    burst: int = 0
    max_concurrent_requests: int | None = None


UNLIMITED: Final = Limits()


class AccessMode(Enum):
    """What a client shows."""

    API_KEY = "APIKey"
    KUBERNETES_TOKEN = "KubernetesToken"  # noqa: S105 - not a secret


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """Who may ask. With neither `allowed` users nor `allowed_groups`, whoever has a token for the `audience`."""

    mode: AccessMode
    audience: str = ""
    allowed: frozenset[str] | None = None
    allowed_groups: frozenset[str] | None = None

    def allows(self, user: str, groups: frozenset[str]) -> bool:
        """Whether a user whose token is genuine may ask."""
        if self.allowed is None and self.allowed_groups is None:
            return True
        return user in (self.allowed or ()) or not groups.isdisjoint(self.allowed_groups or ())


@dataclass(frozen=True, slots=True)
class AuditSink:
    """Where records go: a `file`, or a `url` that takes JSON lines; the other one is empty."""

    file: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class AuditPolicy:
    """Which inferences are recorded, where, and what of their tensors.

    A tensor whose name is in `redact` is recorded without its elements, another one with those that fit into
    `max_tensor_bytes`.
    """

    sample_percent: float
    sink: AuditSink
    redact: frozenset[str] = frozenset()
    max_tensor_bytes: int = _MAX_TENSOR_BYTES


@dataclass(frozen=True, slots=True)
class Policy:
    """All of it; without `access` everybody may ask, without `audit` nothing is recorded."""

    limits: Limits = UNLIMITED
    limits_per_client: Limits = UNLIMITED
    access: AccessPolicy | None = None
    audit: AuditPolicy | None = None


def parse_policy(content: bytes) -> Policy:
    """Read the file.

    Raises InvalidPolicyError, also at a key that is not known: a limit that is misspelt would hold nobody back.
    """
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise InvalidPolicyError(f"{POLICY_FILE} is not JSON: {error}") from error
    whole = _Part(document, "")
    quota, access, audit = whole.part("quota"), whole.part("access"), whole.part("audit")
    whole.end()
    per_client = quota.part("perClient") if quota else None
    policy = Policy(_limits(quota), _limits(per_client), _access(access), _audit(audit))
    if per_client is not None and policy.access is None:
        raise InvalidPolicyError(f"{POLICY_FILE}: quota.perClient needs access, without which clients have no names")
    return policy


def _limits(part: "_Part | None") -> Limits:
    if part is None:
        return UNLIMITED
    rate = part.number("requestsPerSecond")
    burst = part.count("burst")
    concurrent = part.count("maxConcurrentRequests")
    part.end()
    if burst is not None and rate is None:
        raise part.wrong("burst", "needs requestsPerSecond beside it")
    if rate is None:
        return Limits(max_concurrent_requests=concurrent)
    return Limits(rate, ceil(rate) if burst is None else burst, concurrent)


def _access(part: "_Part | None") -> AccessPolicy | None:
    if part is None:
        return None
    mode = part.text("mode")
    try:
        parsed = AccessMode(mode)
    except ValueError as error:
        raise part.wrong("mode", f"must be one of APIKey, KubernetesToken, not {mode!r}") from error
    if parsed is AccessMode.API_KEY:
        part.end()
        return AccessPolicy(parsed)
    audience, allowed, groups = part.text("audience"), part.texts("allowed"), part.texts("allowedGroups")
    part.end()
    if not audience:
        raise part.wrong("audience", "must be there: tokens for other audiences are not meant for this server")
    return AccessPolicy(parsed, audience, allowed, groups)


def _audit(part: "_Part | None") -> AuditPolicy | None:
    if part is None:
        return None
    percent, sink = part.number("samplePercent"), part.part("sink")
    redact, size = part.texts("redact"), part.count("maxTensorBytes")
    part.end()
    if percent is None or percent > _MAX_PERCENT:
        raise part.wrong("samplePercent", f"must be a number of more than 0, up to {_MAX_PERCENT}")
    return AuditPolicy(percent, _sink(part, sink), redact or frozenset(), size or _MAX_TENSOR_BYTES)


def _sink(audit: "_Part", part: "_Part | None") -> AuditSink:
    file, url = (part.text("file"), part.text("url")) if part else ("", "")
    if part is None or bool(file) == bool(url):
        raise audit.wrong("sink", "must have either a file or a url")
    part.end()
    if file and not file.startswith("/"):
        raise part.wrong("file", f"must be an absolute path, not {file!r}")
    if url and not url.startswith(("http://", "https://")):
        raise part.wrong("url", f"must begin with http:// or https://, not {url!r}")
    return AuditSink(file, url)


class _Part:
    """An object of the file. Every method takes a key out, and raises InvalidPolicyError for a wrong value."""

    def __init__(self, value: object, path: str) -> None:
        if not isinstance(value, Mapping):
            raise InvalidPolicyError(f"{POLICY_FILE}: {path or 'the whole'} must be an object, not {value!r}")
        self._left: dict[str, Any] = dict(value)
        self._path = path

    def wrong(self, key: str, text: str) -> InvalidPolicyError:
        return InvalidPolicyError(f"{POLICY_FILE}: {self._at(key)} {text}")

    def part(self, key: str) -> "_Part | None":
        value = self._left.pop(key, None)
        return None if value is None else _Part(value, self._at(key))

    def number(self, key: str) -> float | None:
        value = self._left.pop(key, None)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value <= 0:
            raise self.wrong(key, f"must be a number of more than 0, not {value!r}")
        return float(value)

    def count(self, key: str) -> int | None:
        value = self._left.pop(key, None)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self.wrong(key, f"must be a whole number of at least 1, not {value!r}")
        return value

    def text(self, key: str) -> str:
        value = self._left.pop(key, "")
        if not isinstance(value, str):
            raise self.wrong(key, f"must be a string, not {value!r}")
        return value

    def texts(self, key: str) -> frozenset[str] | None:
        values = self._left.pop(key, None)
        if values is None:
            return None
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise self.wrong(key, f"must be a list of strings, not {values!r}")
        return frozenset(values)

    def end(self) -> None:
        """Nothing else may be there."""
        unknown = sorted(self._left)
        if unknown:
            raise self.wrong(unknown[0], "is not known")

    def _at(self, key: str) -> str:
        return f"{self._path}.{key}" if self._path else key
