"""Whether requests are welcome: after load, warm-up and a first inference, and until the drain."""

from serinus_server.executor import Executor
from serinus_server.model import Model


class Readiness:
    """The state of the server as probes see it."""

    def __init__(self) -> None:
        self.model: Model | None = None
        self.executor: Executor | None = None
        self.draining = False

    def ready(self, model: Model, executor: Executor) -> None:
        """The model answers."""
        self.model = model
        self.executor = executor

    @property
    def reason_not_ready(self) -> str | None:
        """Why no new clients should come, or None."""
        if self.draining:
            return "the server is shutting down"
        if self.model is None:
            return "the model is being loaded"
        return None
