"""The further workers of a server as the first one has them: it starts them, watches them, and ends with them."""

import asyncio
import contextlib
import pickle
import signal
import sys

from serinus_server.failure import WorkerEndedError
from serinus_server.log import JsonLog
from serinus_server.worker import Order


class Siblings:
    """Processes of their own, from a clean start; none outlives this one."""

    def __init__(self, log: JsonLog) -> None:
        self._log = log
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._watching: list[asyncio.Task[None]] = []
        self._failure: WorkerEndedError | None = None
        self._stopping = False
        self.one_ended = asyncio.Event()
        """Set when one ended that was not asked to, or not with 0."""

    async def start(self, order: Order) -> None:
        """Start one."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "serinus_server.worker"),
            stdin=asyncio.subprocess.PIPE,
            pass_fds=(order.descriptor,),
            start_new_session=True,  # Ctrl-C comes to this process, which passes it on
        )
        self._processes[order.number] = process
        self._watching.append(asyncio.create_task(self._watch(order.number, process)))
        self._log.event("worker started", worker=order.number, pid=process.pid)
        assert process.stdin is not None  # noqa: S101 - a pipe
        with contextlib.suppress(ConnectionError):  # that it ended is noticed by who watches it
            process.stdin.write(pickle.dumps(order))
            await process.stdin.drain()
        process.stdin.close()

    async def _watch(self, number: int, process: asyncio.subprocess.Process) -> None:
        returncode = await process.wait()
        if (returncode or not self._stopping) and self._failure is None:
            self._failure = WorkerEndedError(number, returncode)
            self.one_ended.set()

    def stop(self, number: signal.Signals) -> None:
        """Ask all to drain."""
        self._stopping = True
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

    async def finish(self, timeout: float) -> None:
        """Wait for the end of all; whoever is there after `timeout` seconds is killed.

        Raises WorkerEndedError if one did not end as it should.
        """
        if self._watching:
            _, late = await asyncio.wait(self._watching, timeout=timeout)
            if late:
                for process in self._processes.values():
                    with contextlib.suppress(ProcessLookupError):
                        process.kill()
                await asyncio.wait(late)
        if self._failure is not None:
            raise self._failure
