"""The pod that runs a revision of the spec."""

from datetime import timedelta
from math import ceil
from typing import Final

from serinus.api.units import parse_duration, parse_quantity
from serinus.api.v1beta1 import InferenceServiceSpec
from serinus.config import ServerSettings
from serinus.core import names
from serinus.core.identity import Identity
from serinus.core.model_volume import model_volume
from serinus.core.revision import Revision, asks_kubernetes
from serinus.core.templates import render
from serinus.ports import Manifest

_GRACE_SECONDS: Final = 30
"""How much longer than its longest request a pod may take to end: for the drain, and to spare."""


def pod_template(
    identity: Identity, spec: InferenceServiceSpec, revision: Revision, server: ServerSettings
) -> Manifest:
    """The pod that runs `revision` of `spec`."""
    model = model_volume(spec.model, server.hugging_face_endpoint)
    # Once each: the API server merges them by their names.
    pull_secrets = dict.fromkeys((*server.image_pull_secrets, *filter(None, [model.pull_secret])))
    limits = spec.server.limits
    timeout = parse_duration(limits.request_timeout)
    return render(
        "pod-template.yaml.j2",
        service=identity.name,
        revision=revision.name,
        version=revision.version,
        labels=names.revision_labels(identity.name, revision.name, revision.version),
        selector=names.revision_selector(identity.name, revision.name),
        image=server.image,
        image_pull_policy=server.image_pull_policy,
        image_pull_secrets=[{"name": name} for name in pull_secrets],
        preparation=model.preparation,
        preparation_arguments=model.arguments,
        credentials_secret=model.variables_from,
        preparation_variables=model.variables,
        resources=spec.resources.model_dump(mode="json", by_alias=True, exclude_none=True),
        model_volume=model.volume,
        model_path=model.model_path,
        is_read_only=model.is_read_only,
        pipeline=",".join(f"{stage.name}={stage.file}" for stage in spec.model.pipeline or ()),
        has_grpc="gRPC" in spec.server.protocols,
        workers=None if spec.server.workers == "Auto" else spec.server.workers,
        tls_secret=spec.server.tls.secret_name if spec.server.tls else None,
        batching=spec.server.batching.lower(),
        max_body_size=int(parse_quantity(limits.max_body_size)),
        request_timeout=f"{timeout // timedelta(milliseconds=1)}ms",
        grace_period=_GRACE_SECONDS + ceil(timeout.total_seconds()),
        policy=names.policy_name(identity.name),
        api_keys=names.api_keys_name(identity.name),
        asks_kubernetes=asks_kubernetes(spec),
        namespace=identity.namespace,
        otlp_endpoint=server.tracing.otlp_endpoint if server.tracing else None,
        sample_ratio=f"{server.tracing.sample_ratio:g}" if server.tracing else None,
    )
