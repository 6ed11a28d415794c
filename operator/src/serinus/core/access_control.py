"""Whether there is a lock on the endpoint, and which."""

from collections.abc import Iterable
from typing import Final

from serinus.api.v1beta1 import InferenceServiceSpec
from serinus.core import names
from serinus.core.conditions import Assertion
from serinus.core.identity import Identity
from serinus.core.observe import Observed
from serinus.core.policy import token_audience
from serinus.core.revision import Revision, asks_kubernetes

_TYPE: Final = "AccessControlled"
_SOON: Final = "Pods take a change up within two minutes."


def access_controlled(
    identity: Identity, spec: InferenceServiceSpec, serving: Iterable[Revision], observed: Observed
) -> Assertion:
    """What requests have to show. `serving` are the revisions that get some.

    Pods that a former version of the operator made read no policy, and one who asks Kubernetes needs a token for it.
    """
    if spec.access is None:
        message = "Everyone who reaches the pods may ask. To put a lock on, set spec.access."
        return Assertion(_TYPE, "False", "Open", message)
    for revision in serving:
        volumes = _volumes(observed, revision)
        if volumes is not None and not _needed(spec) <= volumes:
            message = (
                f"The pods of revision {revision.name} (version {revision.version}) were made without what "
                f"spec.access.mode: {spec.access.mode} needs. It is in force once a rollout has replaced them."
            )
            return Assertion(_TYPE, "False", "NotInForce", message)
    if spec.access.mode == "APIKey":
        message = (
            f"Requests need an API key whose digest is in the Secret {names.api_keys_name(identity.name)}; while there "
            f"is no such Secret, none is let in. {_SOON}"
        )
    else:
        audience = token_audience(identity.namespace, identity.name)
        message = f"Requests need a Kubernetes token for the audience {audience}. {_SOON}"
    return Assertion(_TYPE, "True", spec.access.mode, message)


def _needed(spec: InferenceServiceSpec) -> frozenset[str]:
    return frozenset({"policy", "service-account"} if asks_kubernetes(spec) else {"policy", "api-keys"})


def _volumes(observed: Observed, revision: Revision) -> frozenset[str] | None:
    """The names of what the pods of a revision have mounted; None where nothing is known of them."""
    template = observed.pinned.get(revision.name) or observed.running.get(revision.name)
    return None if template is None else frozenset(volume["name"] for volume in template["spec"]["volumes"])
