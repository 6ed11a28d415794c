"""The operator's own settings: what the platform team decides, read from one YAML file."""

from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, ValidationError

from serinus.api.base import Duration, SpecModel


class ConfigurationError(Exception):
    """The configuration file cannot be used; the message says where and why."""


class TracingSettings(SpecModel):
    """Where the servers send the spans of requests, over OTLP with http/protobuf, and how many."""

    otlp_endpoint: str = Field(pattern=r"^https?://[!-~]+$")
    """A collector's base URL; /v1/traces is put behind it."""
    sample_ratio: float = Field(default=1.0, ge=0, le=1)
    """The part of the traces that begin at a server; in others it is as the client says."""


class ServerSettings(SpecModel):
    """The inference server's image, and what its pods do when it or another part of their template changes."""

    image: str = Field(min_length=1)
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    hugging_face_endpoint: str | None = Field(default=None, pattern=r"^https://[^/@\s]+(/[^\s]*)?$")
    """The hub that hf:// is fetched from; None: the public one."""
    template_updates: Literal["Pinned", "Canary"] = "Pinned"
    """Pinned: a revision keeps the pod template that it was made from. Canary: a changed one is a new revision."""
    tracing: TracingSettings | None = None
    """None: no spans."""


class PrometheusSettings(SpecModel):
    """Where the requests are counted."""

    url: str = Field(pattern=r"^https?://")
    scrape_interval: Duration = "15s"
    timeout: Duration = "10s"
    credentials_folder: Path | None = None
    """Where a Secret is mounted with token, or username and password, and ca.crt."""
    namespace_label: str = Field(default="namespace", pattern="^[a-zA-Z_][a-zA-Z0-9_]*$")


class GatewaySettings(SpecModel):
    """The Gateway that HTTPRoutes of InferenceServices attach to."""

    namespace: str = Field(min_length=1)
    name: str = Field(min_length=1)
    domain: str = Field(min_length=1, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
    """A service is reached at the host <name>.<namespace>.<domain>."""


class ModelSettings(SpecModel):
    """Which models may be served."""

    require_sha256: bool = Field(default=False, alias="requireSha256")
    """Only those whose digest the spec states."""
    allowed_uri_prefixes: tuple[str, ...] = ()
    """Only those whose URI begins with one of these; none: from everywhere."""


class LimitSettings(SpecModel):
    """How much of the API server the operator may ask for."""

    writes_per_second: int = Field(default=500, ge=1, le=10_000)
    burst: int = Field(default=1000, ge=1, le=100_000)
    """Writes that may be sent at once after a time of rest."""


class LeaseSettings(SpecModel):
    """The Lease by which the operator's replicas agree on who works."""

    namespace: str = Field(min_length=1)
    name: str = Field(min_length=1)


class Settings(SpecModel):
    """Everything that the operator is told at its start."""

    server: ServerSettings
    prometheus: PrometheusSettings
    watch_namespaces: tuple[str, ...] = ()
    """Namespaces to look after; none: all of the cluster."""
    workers: int = Field(default=4, ge=1, le=64)
    limits: LimitSettings = LimitSettings()
    watch_inactivity_timeout: Duration = "70s"
    """A watch that brings nothing for so long is opened anew; the API server sends a bookmark every minute."""
    gateway: GatewaySettings | None = None
    """None: requests are shared out by numbers of pods."""
    models: ModelSettings = ModelSettings()
    token_review: bool = False
    """Whether the pods of InferenceServices may ask the API server about tokens."""
    lease: LeaseSettings | None = None
    """None: this operator is the only one, and works at once."""


def load(path: Path) -> Settings:
    """Read the settings. Raises ConfigurationError for a file that is missing, not YAML, or wrong."""
    try:
        return Settings.model_validate(yaml.safe_load(path.read_text()))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path}: {error}") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in error.errors())
        raise ConfigurationError(f"{path}: {problems}") from error
