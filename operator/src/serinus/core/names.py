"""Names and labels of the objects that belong to an inference service."""

from typing import Final

SERVICE_LABEL: Final = "serinus.dev/inferenceservice"
REVISION_LABEL: Final = "serinus.dev/revision"
COMMAND_ANNOTATION: Final = "serinus.dev/command"
RECONCILE_ID_ANNOTATION: Final = "serinus.dev/reconcile-id"
"""On events: the visit that they were told in, as in the operator's logs."""
FIELD_MANAGER: Final = "serinus"
MODEL_VOLUME: Final = "model"
"""The volume of a pod that the model is on."""


def workload_name(service: str, revision: str) -> str:
    """Name of a revision's Deployment and ControllerRevision; at most 63 characters."""
    return f"{service}-{revision}"


def policy_name(service: str) -> str:
    """Name of the ConfigMap that tells the pods their quota, access and audit."""
    return f"{service}-policy"


def api_keys_name(service: str) -> str:
    """Name of the Secret that the service's API keys are in; it is the user's to make."""
    return f"{service}-api-keys"


def service_labels(service: str) -> dict[str, str]:
    """Labels of what belongs to the service as a whole."""
    return {
        "app.kubernetes.io/name": "serinus-server",
        "app.kubernetes.io/instance": service,
        "app.kubernetes.io/component": "model-server",
        "app.kubernetes.io/managed-by": "serinus",
        SERVICE_LABEL: service,
    }


def revision_labels(service: str, revision: str, version: str) -> dict[str, str]:
    """Labels of what belongs to one revision of the service."""
    return service_labels(service) | {"app.kubernetes.io/version": version, REVISION_LABEL: revision}


def service_selector(service: str) -> dict[str, str]:
    """Selects the pods of all revisions."""
    return {SERVICE_LABEL: service}


def revision_selector(service: str, revision: str) -> dict[str, str]:
    """Selects the pods of one revision."""
    return {SERVICE_LABEL: service, REVISION_LABEL: revision}
