"""How the server of an inference service answers, whom, and what is kept of it: server, quota, access and audit."""

from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from serinus.api import units
from serinus.api.base import (
    Duration,
    Percentage,
    Quantity,
    SpecModel,
    Whole,
    cel_rule,
    cel_rules,
    whole_number_as_text,
)

_LONGEST_REQUEST: Final = "10m"
_SHORTEST_REQUEST: Final = "10ms"


def _each_once(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) < len(values):
        raise ValueError("must hold each once")
    return values


_SET: Final = Field(json_schema_extra={"x-kubernetes-list-type": "set"})
_EACH_ONCE: Final = AfterValidator(_each_once)

_Name = Annotated[str, Field(min_length=1, max_length=253)]
_Names = Annotated[tuple[_Name, ...], Field(max_length=64), _SET, _EACH_ONCE]
_Protocols = Annotated[tuple[Literal["REST", "gRPC"], ...], Field(min_length=1, max_length=2), _SET, _EACH_ONCE]
_SomeNames = Annotated[tuple[_Name, ...], Field(min_length=1, max_length=64), _SET, _EACH_ONCE]


_MOST_WORKERS: Final = 64
_Workers = Annotated[
    str,
    Field(
        pattern=r"^(Auto|[1-9]|[1-5][0-9]|6[0-4])$",
        max_length=4,
        # The API server holds text to the pattern, and whole numbers to the bounds.
        json_schema_extra={"x-kubernetes-int-or-string": True, "minimum": 1, "maximum": _MOST_WORKERS},
    ),
    BeforeValidator(whole_number_as_text),
]


class ServerLimits(SpecModel):
    """What one request may take."""

    max_body_size: Quantity = Field(
        default="16Mi",
        description="The largest request body, such as 16Mi. A larger one is answered with 413.",
        json_schema_extra=cel_rules(
            cel_rule(
                "quantity(string(self)).isInteger() && quantity(string(self)).compareTo(quantity('1Ki')) >= 0 && "
                "quantity(string(self)).compareTo(quantity('1Gi')) <= 0",
                "server.limits.maxBodySize must be a whole number of bytes from 1Ki to 1Gi",
            )
        ),
    )
    request_timeout: Duration = Field(
        default="30s",
        description="How long a request may take, such as 500ms or 30s. After that it is answered with 504, and counts "
        "as failed.",
        json_schema_extra=cel_rules(
            cel_rule(
                f"!self.matches('{units.DURATION_PATTERN}') || (duration(self) >= duration('{_SHORTEST_REQUEST}') && "
                f"duration(self) <= duration('{_LONGEST_REQUEST}'))",
                f"server.limits.requestTimeout must be from {_SHORTEST_REQUEST} to {_LONGEST_REQUEST}",
            )
        ),
    )

    @field_validator("max_body_size")
    @classmethod
    def _size_is_a_number_of_bytes(cls, size: str) -> str:
        amount = units.parse_quantity(size)
        if amount.denominator != 1 or not 1 << 10 <= amount <= 1 << 30:
            raise ValueError("must be a whole number of bytes from 1Ki to 1Gi")
        return size

    @field_validator("request_timeout")
    @classmethod
    def _timeout_is_in_bounds(cls, timeout: str) -> str:
        shortest, longest = units.parse_duration(_SHORTEST_REQUEST), units.parse_duration(_LONGEST_REQUEST)
        if not shortest <= units.parse_duration(timeout) <= longest:
            raise ValueError(f"must be from {_SHORTEST_REQUEST} to {_LONGEST_REQUEST}")
        return timeout


class ServerTLS(SpecModel):
    """The server's certificate."""

    secret_name: str = Field(
        min_length=1,
        max_length=253,
        pattern=r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$",
        description="Name of a Secret of type kubernetes.io/tls in the same namespace, such as cert-manager writes: "
        "tls.crt and tls.key in PEM. A renewed certificate is taken up without a restart. While there is no such "
        "Secret, no pod of the revision starts (reason CreateContainerConfigError). The operator never reads it.",
    )


class Server(SpecModel):
    """How the server runs the model."""

    protocols: _Protocols = Field(
        default=("REST",),
        description="The forms of the Open Inference Protocol that are spoken. REST, on port 80 of the Service, always "
        "is: probes and metrics come that way. With gRPC the Service has the port 9000, too. With TLS they are 443 and "
        "9443.",
        json_schema_extra=cel_rules(
            cel_rule("'REST' in self", "server.protocols must hold REST: probes and metrics come that way")
        ),
    )
    batching: Literal["Auto", "Off"] = Field(
        default="Auto",
        description="Auto runs requests that wait together where that proved quicker when the model was loaded; a lone "
        "request never waits for others. Off runs each by itself.",
    )
    workers: _Workers = Field(
        default="Auto",
        description="Processes of each pod that answer requests, from 1 to 64, each with the model in its memory. Auto "
        "is one for each core of the CPU limit, up to 8, where the model takes less than half a millisecond and their "
        "memory suffices; and else one, since threads keep the cores busy.",
    )
    limits: ServerLimits = Field(default=ServerLimits(), description="What one request may take.")
    tls: ServerTLS | None = Field(
        default=None,
        description="Has clients speak TLS, 1.2 at least. Probes and metrics stay without, at a port of the pods that "
        "has nothing else. Going over to TLS is a rollout in which the Service has both ports, each leading to the "
        "pods that speak so. A Gateway does not speak TLS to the pods: where the platform has one, this needs "
        "canary.traffic.mode Replicas. Left out: plain HTTP.",
    )

    @field_validator("protocols")
    @classmethod
    def _rest_is_among_them(cls, protocols: tuple[str, ...]) -> tuple[str, ...]:
        if "REST" not in protocols:
            raise ValueError("must hold REST: probes and metrics come that way")
        return protocols


class RequestQuota(SpecModel):
    """How much may be asked for. Each pod counts for itself."""

    model_config = ConfigDict(
        json_schema_extra=cel_rules(
            cel_rule(
                "!has(self.burst) || has(self.requestsPerSecond)",
                "a quota's burst needs requestsPerSecond beside it",
                fieldPath=".burst",
            ),
        )
    )

    requests_per_second: Whole | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="Requests that each pod takes in a second, in the long run. More are answered with 429 and "
        "Retry-After. Left out: as many as come.",
    )
    burst: Whole | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="Requests that may come at once after a pause. Left out: those of one second.",
    )
    max_concurrent_requests: Whole | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="Requests that each pod has in work at once. More are answered with 429. Left out: as many as the "
        "server can hold.",
    )

    @model_validator(mode="after")
    def _burst_has_a_rate(self) -> Self:
        if self.burst is not None and self.requests_per_second is None:
            raise ValueError("burst needs requestsPerSecond beside it")
        return self


class Quota(RequestQuota):
    """How much may be asked for, by all clients together and by each."""

    per_client: RequestQuota | None = Field(
        default=None,
        description="The same for each client by itself. Clients are told apart by their API keys or tokens, so it "
        "needs access.",
    )


class Access(SpecModel):
    """Who may ask. Health and metrics stay open, to probes and to Prometheus."""

    model_config = ConfigDict(
        json_schema_extra=cel_rules(
            cel_rule(
                "self.mode == 'KubernetesToken' || (!has(self.allowedUsers) && !has(self.allowedGroups))",
                "access.allowedUsers and access.allowedGroups are of the mode KubernetesToken; who has an API key is "
                "allowed by its being in the Secret",
            ),
        )
    )

    mode: Literal["APIKey", "KubernetesToken"] = Field(
        description="APIKey: clients show a key whose digest the Secret <name>-api-keys holds under the client's name, "
        "as `serinus-server api-key` makes them; without that Secret nobody is let in. KubernetesToken: clients show a "
        "token of a service account for the audience <name>.<namespace>.svc, which the API server is asked about; the "
        "pods then carry a token of their own to ask with, so that going over to this mode is a new revision. All else "
        "changes without a restart, within the minute or two that the kubelet takes.",
    )
    allowed_users: _SomeNames | None = Field(
        default=None,
        description="The users whose tokens are let in, such as system:serviceaccount:shop:web. Left out, with "
        "allowedGroups left out, too: everyone with a token for the audience.",
    )
    allowed_groups: _SomeNames | None = Field(
        default=None,
        description="The groups whose members are let in, such as system:serviceaccounts:shop.",
    )

    @model_validator(mode="after")
    def _names_are_of_tokens(self) -> Self:
        if self.mode != "KubernetesToken" and (self.allowed_users or self.allowed_groups):
            raise ValueError("allowedUsers and allowedGroups are of the mode KubernetesToken")
        return self


class Audit(SpecModel):
    """Which requests and replies are kept, and where."""

    url: str = Field(
        min_length=1,
        max_length=1024,
        pattern=r"^https?://[!-.0-?A-~]+(/[!-~]*)?$",  # printable ASCII, and no credentials
        description="Where records go, by POST as JSON lines, such as http://collector.audit.svc/serinus. No request "
        "ever waits for it; records that it is too slow for are dropped and counted in serinus_audit_records_total.",
    )
    sample: Percentage = Field(
        default="100%",
        description="The share of the successful requests that is kept, such as 100% or 0.5%.",
        json_schema_extra=cel_rules(
            cel_rule(
                "!self.matches('^0+([.]0+)?%$')", "audit.sample must be more than 0%; to keep nothing, leave out audit"
            )
        ),
    )
    redact: _Names = Field(
        default=(),
        description="Names of inputs and outputs whose contents are never kept.",
    )
    max_tensor_bytes: Whole = Field(
        default=4096,
        ge=1,
        le=1 << 20,
        description="How many bytes of each tensor are kept; of a larger one the first.",
    )

    @field_validator("sample")
    @classmethod
    def _something_is_kept(cls, sample: str) -> str:
        if units.parse_percentage(sample) == 0:
            raise ValueError("must be more than 0%; to keep nothing, leave out audit")
        return sample
