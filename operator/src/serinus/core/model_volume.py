"""Where the pods have the model from: a volume of their own that it is fetched into, or one that holds it already."""

from dataclasses import dataclass
from typing import Final

from serinus.api.model_uri import on_claim
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


def model_volume(model: Model) -> ModelVolume:
    """The volume that the pods have the model on."""
    digest = ["--sha256", model.sha256] if model.sha256 else []
    if held := on_claim(model.uri):
        return ModelVolume(
            volume={
                "name": MODEL_VOLUME,
                "persistentVolumeClaim": {"claimName": held.claim, "readOnly": True},
            },
            preparation="verify",
            # Two dashes: a path may begin with one.
            arguments=["verify", *digest, "--", _FOLDER, literal(held.path)],
            model_path=literal(f"{_FOLDER}/{held.path}"),
            is_read_only=True,
        )
    return ModelVolume(
        volume={"name": MODEL_VOLUME, "emptyDir": {"sizeLimit": "10Gi"}},
        preparation="fetch",
        arguments=["fetch", literal(model.uri), _FOLDER, *digest],
        model_path=_FOLDER,
        is_read_only=False,
    )


def literal(text: str) -> str:
    """A text as an argument of a container: there $(NAME) would be replaced by a variable, be it one of a Secret."""
    return text.replace("$", "$$")
