"""Which InferenceService children belong to."""

from dataclasses import dataclass

from serinus.api.v1beta1 import API_VERSION, KIND
from serinus.ports import Manifest


@dataclass(frozen=True, slots=True)
class Identity:
    """Which InferenceService the children belong to."""

    namespace: str
    name: str
    uid: str

    def owner_reference(self) -> Manifest:
        """Makes the garbage collector delete a child with its owner."""
        return {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "name": self.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": False,
        }
