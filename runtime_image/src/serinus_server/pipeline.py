"""Several models that run one after another as one, such as preprocessing, model and postprocessing."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import onnxruntime

from serinus_server.model import Runnable, Signature, Tensor
from serinus_server.runtime_error import explained
from serinus_server.wiring import wire

StageObserver = Callable[[str, float], None]
"""Is told the name of a stage and the seconds of a run of it, from any thread."""


@dataclass(frozen=True)
class Stage:
    """A model of a pipeline. `gives` are those of its outputs that are of use."""

    name: str
    session: Runnable
    signature: Signature
    gives: Sequence[str]


class StageFailedError(Exception):
    """A stage failed on the values it got; the message names it."""


class Pipeline:
    """Runs like one model. Safe to call from several threads, as its sessions are."""

    def __init__(self, stages: Sequence[Stage], observe: StageObserver | None = None) -> None:
        self.stages = stages
        self._observe = observe

    def observed(self, observe: StageObserver) -> "Pipeline":
        """The same pipeline, telling how long each stage takes."""
        return Pipeline(self.stages, observe)

    def run(
        self, outputs: Sequence[str], feeds: Mapping[str, Tensor], options: onnxruntime.RunOptions | None = None
    ) -> list[Tensor]:
        """Run all stages once; returns the tensors in the order of `outputs`, which are the last one's.

        Raises StageFailedError.
        """
        tensors = dict(feeds)
        results: list[Tensor] = []
        for stage in self.stages:
            wanted = outputs if stage is self.stages[-1] else stage.gives
            taken = {name: tensors[name] for name in stage.signature.inputs if name in tensors}
            started = time.perf_counter()
            try:
                results = stage.session.run(wanted, taken, options)
            except Exception as error:  # the bindings' exceptions have no common base of their own
                raise StageFailedError(f"stage {stage.name!r}: {explained(error)}") from error
            if self._observe is not None:
                self._observe(stage.name, time.perf_counter() - started)
            tensors.update(zip(wanted, results, strict=True))
        return results


def assemble(parts: Mapping[str, tuple[Runnable, Signature]]) -> tuple[Pipeline, Signature]:
    """A pipeline of models, given by stage in the order in which they run, and what it takes and gives as a whole.

    Raises FatalError(MODEL_LOAD_FAILED) where two do not fit together.
    """
    wiring = wire({name: signature for name, (_, signature) in parts.items()})
    stages = [
        Stage(name, session, signature, gives)
        for (name, (session, signature)), gives in zip(parts.items(), wiring.needed, strict=True)
    ]
    return Pipeline(stages), wiring.signature
