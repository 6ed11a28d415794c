"""From the settings to a model that has answered once: examined, loaded, warmed up and measured."""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

from serinus_server.batching import Batching, measure, off
from serinus_server.encode import NotRepresentableError, encode
from serinus_server.infer_request import InferRequest
from serinus_server.loading import SafeFile, load
from serinus_server.log import JsonLog
from serinus_server.model import Model
from serinus_server.model_files import find_model_files
from serinus_server.probe import examine
from serinus_server.settings import ServeSettings
from serinus_server.warm_up import WarmUp, warm_up


@dataclass(frozen=True)
class Findings:
    """What is known of a model once it has been prepared; whoever loads the same files need not find it out again."""

    files: Sequence[SafeFile]
    warmed: WarmUp | None
    batching: Batching


def prepare(settings: ServeSettings, log: JsonLog) -> tuple[Model, Findings]:
    """Load the model for the first time.

    Raises FatalError.
    """
    started = time.perf_counter()
    files = find_model_files(settings.model_path, settings.pipeline)
    for file in files:
        log.event("loading", path=str(file.path), bytes=file.path.stat().st_size, stage=file.stage)
    examined = examine(files, warm_up=settings.warm_up)
    model = _load(settings, examined)
    warmed = warm_up(model.session, model.signature) if settings.warm_up else None
    batching = off("there was no warm-up" if warmed is None else "by --batching")
    if warmed:
        _first_inference(model, warmed)
        if settings.batching:
            batching = measure(model.session, model.signature, warmed)
    log.event("loaded", seconds=round(time.perf_counter() - started, 3), digest=model.digest)
    return model, Findings(examined, warmed, batching)


def prepare_again(settings: ServeSettings, findings: Findings) -> Model:
    """Load a model that another process has prepared.

    Raises FatalError.
    """
    model = _load(settings, findings.files)
    if findings.warmed:
        _first_inference(model, findings.warmed)
    return model


def _load(settings: ServeSettings, files: Sequence[SafeFile]) -> Model:
    return load(files, settings.model_name, settings.model_version, intra_op_threads=settings.intra_op_threads)


def _first_inference(model: Model, warmed: WarmUp) -> None:
    """Through run and encode, as a request goes."""
    request = InferRequest("warm-up", warmed.feeds, list(model.signature.outputs))
    with contextlib.suppress(NotRepresentableError):  # made-up inputs may well give NaN
        encode(model, request, model.run(warmed.feeds, request.outputs))
