"""Where the pods have the model from: a volume of their own that it is fetched into, or one that holds it already."""

from dataclasses import dataclass, field
from typing import Final

from serinus.api.model_uri import in_image, on_claim
from serinus.api.v1beta1 import Model
from serinus.core.names import MODEL_VOLUME
from serinus.ports import Manifest

_FOLDER: Final = "/models"
"""Where the volume is in the pods."""


@dataclass(frozen=True, slots=True)
class ModelVolume:
    """The volume, and what a container does with it before the server starts."""

    volume: Manifest
    preparation: str
    """The container's name, which is that of what it does."""
    arguments: list[str]
    model_path: str
    is_read_only: bool
    variables_from: str | None = None
    """The Secret whose keys are environment variables of that container."""
    variables: list[Manifest] = field(default_factory=list)
    """Further ones, which come before those."""
    pull_secret: str | None = None
    """The Secret with which the kubelet pulls the image that is the volume."""


def model_volume(model: Model, hub: str | None = None) -> ModelVolume:
    """The volume that the pods have the model on; `hub` is what hf:// is fetched from, if not the public one."""
    if on := on_claim(model.uri):
        return _mounted({"persistentVolumeClaim": {"claimName": on.claim, "readOnly": True}}, on.path, model.sha256)
    if inside := in_image(model.uri):
        # A tag is taken to stay what it is, as a version is; a digest cannot be anything else.
        image = {"reference": inside.reference, "pullPolicy": "IfNotPresent"}
        return _mounted({"image": image}, inside.path, model.sha256, _secret_name(model))
    return ModelVolume(
        volume={"name": MODEL_VOLUME, "emptyDir": {"sizeLimit": "10Gi"}},
        preparation="fetch",
        arguments=["fetch", literal(model.uri), _FOLDER, *_digest(model.sha256)],
        model_path=_FOLDER,
        is_read_only=False,
        variables_from=_secret_name(model),
        variables=[{"name": "HF_ENDPOINT", "value": literal(hub)}] if hub and model.uri.startswith("hf://") else [],
    )


def _mounted(source: Manifest, path: str, sha256: str | None, pull_secret: str | None = None) -> ModelVolume:
    return ModelVolume(
        volume={"name": MODEL_VOLUME, **source},
        preparation="verify",
        # Two dashes: a path may begin with one.
        arguments=["verify", *_digest(sha256), "--", _FOLDER, literal(path)],
        model_path=literal(f"{_FOLDER}/{path}"),
        is_read_only=True,
        pull_secret=pull_secret,
    )


def _digest(sha256: str | None) -> list[str]:
    return ["--sha256", sha256] if sha256 else []


def _secret_name(model: Model) -> str | None:
    return model.credentials.secret_name if model.credentials else None


def literal(text: str) -> str:
    """A text as an argument of a container: there $(NAME) would be replaced by a variable, be it one of a Secret."""
    return text.replace("$", "$$")
