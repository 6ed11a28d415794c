"""What the JSON headers of earlier binary requests said: clients send the same one over and over.

To parse and check it takes longer than all else that is done for a request of binary data, and says the same each time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from serinus_server.infer_request import InferRequest
from serinus_server.known import Known
from serinus_server.model import TensorSpec
from serinus_server.raw_tensor import from_raw


@dataclass(frozen=True, slots=True)
class BinaryInput:
    """An input whose data are `size` bytes of the body; `shape` fits the model's."""

    spec: TensorSpec
    shape: Sequence[int]
    size: int


@dataclass(frozen=True, slots=True)
class KnownHeader:
    """A header that was found right: its inputs in the order of their data, and what is asked for."""

    inputs: Sequence[BinaryInput]
    outputs: Sequence[str]
    binary_outputs: frozenset[str]
    parameters: Mapping[str, Any]

    def request(self, body: bytes, start: int) -> InferRequest | None:
        """The request that has this header and, from `start` on, its data; None if their size is not right.

        Raises InvalidRequestError.
        """
        data = memoryview(body)
        feeds = {}
        for each in self.inputs:
            end = start + each.size
            if end > len(data):
                return None
            feeds[each.spec.name] = from_raw(data[start:end], each.shape, each.spec)
            start = end
        if start != len(data):
            return None
        return InferRequest(None, feeds, self.outputs, self.binary_outputs, self.parameters)


KnownHeaders: TypeAlias = Known[bytes, KnownHeader]
"""The headers that came last, of requests without an id of their own, to one model, by their text."""
