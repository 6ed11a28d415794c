"""SIGTERM and SIGINT, which ask for a drain."""

import asyncio
import os
import signal
from typing import TypeAlias

StopSignal: TypeAlias = "asyncio.Future[signal.Signals]"


def stop_signal() -> StopSignal:
    """The first of these signals that comes from now on. After the second one the process is gone at once."""
    loop = asyncio.get_running_loop()
    asked: StopSignal = loop.create_future()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _on_signal, asked, number)
    return asked


def _on_signal(asked: StopSignal, number: signal.Signals) -> None:
    if asked.done():
        os._exit(128 + number)  # asked twice: leave at once
    asked.set_result(number)
