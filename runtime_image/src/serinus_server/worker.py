"""One of the further workers of a server: `python -m serinus_server.worker`, with its order on standard input."""

import asyncio
import pickle
import signal
import sys
from dataclasses import dataclass

import uvloop

from serinus_server.board import Board
from serinus_server.child_process import end_with_parent
from serinus_server.ending import run_to_end
from serinus_server.log import JsonLog
from serinus_server.metrics import counters_needed
from serinus_server.preparation import Findings, prepare_again
from serinus_server.service import Service
from serinus_server.settings import ServeSettings
from serinus_server.stop_signal import stop_signal


@dataclass(frozen=True)
class Order:
    """What worker `number` of `workers` is to serve, at the ports in the `settings`.

    The board has the `descriptor`, and rows for `capacity` workers.
    """

    number: int
    workers: int
    capacity: int
    descriptor: int
    settings: ServeSettings
    findings: Findings


def main() -> None:
    """Do as ordered."""
    end_with_parent()
    order: Order = pickle.load(sys.stdin.buffer)  # noqa: S301 - the first worker's, which started this process
    log = JsonLog(worker=order.number)
    log.write_in_turns(order.descriptor)
    sys.exit(run_to_end(lambda: uvloop.run(_work(order, log)), log))


async def _work(order: Order, log: JsonLog) -> None:
    settings = order.settings
    asked_to_stop = stop_signal()
    board = Board(counters_needed(settings.pipeline), order.capacity, order.number, order.descriptor)
    service = Service(settings, log, board)
    await service.mounts.load()
    # Nothing comes to this process before it listens, so it may as well do that when it can answer.
    model = await asyncio.to_thread(prepare_again, settings, order.findings)
    await service.listen(joins=True)
    await service.become_ready(model, order.findings, order.workers)
    number = await asked_to_stop
    await service.drain(settings.drain_delay if number is signal.SIGTERM else 0.0)


if __name__ == "__main__":
    main()
