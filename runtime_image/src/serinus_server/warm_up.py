"""The first runs of a model: do they work, and how long does one take?"""

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from serinus_server.failure import FatalError, Reason
from serinus_server.model import Runnable, Signature, Tensor, elements_of, empty_of
from serinus_server.runtime_error import explained

# A size and a value for all open dimensions and elements. Most models take the first; a convolution or a
# pooling over an open dimension needs some room, and a division or a lookup may not like zeros.
_CANDIDATES: Final = ((1, 0), (1, 1), (2, 0), (8, 1), (32, 1), (224, 0))
_MAX_ELEMENTS: Final = 1 << 26  # of many open dimensions, 224 each would be more than any machine has
_MAX_RUNS: Final = 20
_MEASURE_SECONDS: Final = 0.25


@dataclass(frozen=True)
class WarmUp:
    """Inputs that the model accepts, and the median duration of a run on them in seconds."""

    feeds: Mapping[str, Tensor]
    run_seconds: float

    @property
    def elements(self) -> int:
        """How many elements the inputs have in all."""
        return sum(tensor.size for tensor in self.feeds.values())


def warm_up(session: Runnable, signature: Signature) -> WarmUp:
    """Run the model a few times on made-up inputs.

    Raises FatalError(WARM_UP_FAILED) with the model's first complaint if it takes none of them.
    """
    outputs = list(signature.outputs)
    complaint = ""
    for size, value in _CANDIDATES:
        if size > 1 and sum(elements_of(spec, size) for spec in signature.inputs.values()) > _MAX_ELEMENTS:
            continue
        feeds = {name: empty_of(spec, size, value) for name, spec in signature.inputs.items() if not spec.optional}
        try:
            session.run(outputs, feeds)
        except Exception as error:  # the bindings' exceptions have no common base of their own
            complaint = complaint or explained(error)
        else:
            return WarmUp(feeds, _measure(session, outputs, feeds))
    raise FatalError(Reason.WARM_UP_FAILED, f"the model fails on every made-up input; first: {complaint}")


def _measure(session: Runnable, outputs: Sequence[str], feeds: Mapping[str, Tensor]) -> float:
    durations: list[float] = []
    while len(durations) < _MAX_RUNS and sum(durations) < _MEASURE_SECONDS:
        started = time.perf_counter()
        session.run(outputs, feeds)
        durations.append(time.perf_counter() - started)
    return statistics.median(durations)
