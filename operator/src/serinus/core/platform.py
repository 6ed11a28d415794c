"""What a platform allows: a spec that is right by itself may still ask for what there is not, or may not be."""

import re
from typing import Final

from serinus.api.v1beta1 import InferenceServiceSpec
from serinus.config import ModelSettings, Settings
from serinus.core.revision import asks_kubernetes
from serinus.core.traffic import TrafficMode, traffic_mode, unreachable_weight

_NO_GATEWAY: Final = (
    "spec.canary.traffic.mode: GatewayAPI needs a Gateway, and this platform has none: the operator's settings name it "
    "(gateway.name of the chart). Use Auto or Replicas, or ask the platform team."
)

_MAY_NOT_REVIEW: Final = (
    "spec.access.mode: KubernetesToken needs pods that may ask the API server about tokens, and on this platform they "
    "may not: tokenReview.enabled of the chart lets them. Use APIKey, or ask the platform team."
)

_NO_TLS_TO_PODS: Final = (
    "spec.server.tls: this platform's Gateway would speak to the pods without TLS. Set spec.canary.traffic.mode: "
    "Replicas, so that clients call the Service itself, at port 443; or leave out spec.server.tls."
)

_DOTS: Final = re.compile(r"/(\.|%2e){1,2}(?=[/?#]|$)", re.IGNORECASE)
"""A part of a path that web servers take for the folder above, or for none."""

_NO_DIGEST: Final = (
    "spec.model.sha256: this platform serves no model whose digest is not stated (models.requireSha256 of the chart). "
    "State it, as sha256sum prints it."
)


def unfit_here(spec: InferenceServiceSpec, settings: Settings) -> str | None:
    """Why the spec cannot be carried out on this platform, and what to do about it; None if it can."""
    has_gateway = settings.gateway is not None
    if spec.canary.traffic.mode == "GatewayAPI" and not has_gateway:
        return _NO_GATEWAY
    if spec.server.tls is not None and traffic_mode(spec.canary, has_gateway=has_gateway) is TrafficMode.GATEWAY_API:
        return _NO_TLS_TO_PODS
    if asks_kubernetes(spec) and not settings.token_review:
        return _MAY_NOT_REVIEW
    return _unfit_model(spec, settings.models) or unreachable_weight(spec, has_gateway=has_gateway)


def _unfit_model(spec: InferenceServiceSpec, models: ModelSettings) -> str | None:
    if models.require_sha256 and spec.model.sha256 is None:
        return _NO_DIGEST
    allowed = models.allowed_uri_prefixes
    if allowed and (not spec.model.uri.startswith(allowed) or _DOTS.search(spec.model.uri)):
        return (
            f"spec.model.uri: this platform serves models from {', '.join(allowed)} alone (models.allowedUriPrefixes "
            f"of the chart), and {spec.model.uri} is, or by its dots leads, elsewhere. Put the model there, or ask the "
            "platform team."
        )
    return None
