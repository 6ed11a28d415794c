"""Whether requests are welcome: after load, warm-up and a first inference of every worker, and until the drain."""

import time

from serinus_server.board import STUCK_SECONDS, Board
from serinus_server.executor import Executor
from serinus_server.model import Model


class Readiness:
    """The state of the server as probes see it, whichever of its workers they ask."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self.model: Model | None = None
        self.executor: Executor | None = None

    def ready(self, model: Model, executor: Executor) -> None:
        """The model answers in this process."""
        self.model = model
        self.executor = executor
        self._board.serve()

    def drain(self) -> None:
        """No new clients should come."""
        self._board.drain()

    @property
    def reason_not_ready(self) -> str | None:
        """Why no new clients should come, or None."""
        if self._board.draining:
            return "the server is shutting down"
        if not self._board.serving:
            return "the model is being loaded"
        return None

    @property
    def reason_not_alive(self) -> str | None:
        """Why nothing but a restart helps, or None."""
        stuck = self._board.stuck(time.monotonic())
        return None if stuck is None else f"worker {stuck} has done nothing for {STUCK_SECONDS:.0f} s"
