"""What the pods of a service are told while they run: whom to let in, how much each may ask for, what to keep."""

import json
from typing import Any

from serinus.api.serving import Access
from serinus.api.v1beta1 import InferenceServiceSpec


def policy_document(spec: InferenceServiceSpec, namespace: str, name: str) -> str:
    """The file policy.json that the server reads; the same text for the same policy."""
    parts: dict[str, Any] = {}
    if spec.quota is not None:
        parts["quota"] = spec.quota.model_dump(mode="json", by_alias=True, exclude_none=True)
    if spec.access is not None:
        parts["access"] = _access(spec.access, token_audience(namespace, name))
    if spec.audit is not None:
        parts["audit"] = {
            "samplePercent": float(spec.audit.sample.removesuffix("%")),
            "sink": {"url": spec.audit.url},
            "redact": list(spec.audit.redact),
            "maxTensorBytes": spec.audit.max_tensor_bytes,
        }
    return json.dumps(parts, sort_keys=True, indent=2)


def token_audience(namespace: str, name: str) -> str:
    """The audience that tokens of clients have to be for."""
    return f"{name}.{namespace}.svc"


def _access(access: Access, audience: str) -> dict[str, Any]:
    if access.mode == "APIKey":
        return {"mode": access.mode}
    named = {"allowed": access.allowed_users, "allowedGroups": access.allowed_groups}
    return {"mode": access.mode, "audience": audience} | {key: list(value) for key, value in named.items() if value}
