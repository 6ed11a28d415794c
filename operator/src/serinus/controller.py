"""Feeds the reconciler: keys from events in, visits out, by a few workers in one event loop."""

import asyncio
import contextvars
import functools
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from serinus import telemetry
from serinus.core.observe import Children
from serinus.core.projection import unpacked
from serinus.logs import visiting
from serinus.ports import ApiConflictError, ApiUnavailableError, Manifest, NotLeadingError
from serinus.queue import WorkQueue
from serinus.reconciler import Reconciler, Result

logger: Final = logging.getLogger(__name__)

Key = tuple[str, str]
"""Namespace and name of an InferenceService."""

Index = Mapping[Key, Iterable[bytes]]
"""The objects of each InferenceService, packed."""


class Controller:
    """The queue and the workers between the watches and the reconciler."""

    def __init__(self, reconciler: Reconciler, workers: int) -> None:
        self._reconciler = reconciler
        self._workers = workers
        self._queue: WorkQueue[Key] = WorkQueue(time.monotonic, on_taken=telemetry.QUEUE_SECONDS.observe)
        self._indices: Mapping[str, Index] = {}
        self._written: dict[Key, Manifest] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="reconcile")
        self._leading = asyncio.Event()
        self.stopping = asyncio.Event()
        self._progress_at = time.monotonic()

    def start(self, indices: Mapping[str, Any]) -> None:
        """Begin to work, on what the indices hold."""
        self._indices = indices
        self._tasks = [asyncio.create_task(self._work(), name=f"worker-{number}") for number in range(self._workers)]

    async def stop(self) -> None:
        """Stop taking keys, and let the visits under way finish. It may be asked for again."""
        self.stopping.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self._executor.shutdown)

    def lead(self, leads: bool) -> None:
        """Begin to visit, or cease to. Keys are collected all the while, so that a new leader knows what to do."""
        telemetry.LEADING.set(leads)
        if leads:
            self._progress_at = time.monotonic()
            self._leading.set()
        else:
            self._leading.clear()

    def enqueue(self, key: Key) -> None:
        """Have the InferenceService visited."""
        self._queue.add(key)
        telemetry.QUEUE_DEPTH.set(len(self._queue))

    def is_healthy(self) -> bool:
        """Whether all workers are there to work."""
        return bool(self._tasks) and not any(task.done() for task in self._tasks)

    def oldest_key(self) -> float:
        """How long the longest waiting key has waited for a visit, in seconds; 0 while another replica leads."""
        return self._queue.oldest() if self._leading.is_set() else 0.0

    def since_progress(self) -> float:
        """Seconds since a visit ended, or since visits began."""
        return time.monotonic() - self._progress_at

    def services(self) -> Iterator[Manifest]:
        """The InferenceServices that this replica looks after: none while another one leads."""
        if self._leading.is_set():
            for stored in self._indices.get("services", {}).values():
                yield from map(unpacked, stored)

    async def _work(self) -> None:
        while True:
            key = await self._queue.get()
            telemetry.QUEUE_DEPTH.set(len(self._queue))
            try:
                await self._leading.wait()
                with visiting(*key):
                    await self._visit(key)
            finally:
                self._progress_at = time.monotonic()
                self._queue.done(key)

    async def _visit(self, key: Key) -> None:
        service = self._newest(key)
        if service is None:
            self._queue.forget(key)
            self._reconciler.forget(*key)
            return
        loop = asyncio.get_running_loop()
        visit = functools.partial(self._reconciler.reconcile, service, self._children(key))
        context = contextvars.copy_context()
        try:
            with telemetry.RECONCILE_SECONDS.time():
                result = await loop.run_in_executor(self._executor, context.run, visit)
        except ApiConflictError as error:
            logger.debug("the service was seen out of date: %s", error)
            telemetry.RECONCILES.labels("conflict").inc()
            self._queue.retry(key)
        except NotLeadingError as error:
            logger.info("the visit broke off: %s", error)
            telemetry.RECONCILES.labels("not_leading").inc()
            self._queue.retry(key)
        except ApiUnavailableError as error:
            logger.warning("the visit failed, and is made again: %s", error)
            telemetry.RECONCILES.labels("error").inc()
            self._queue.retry(key, error.retry_after)
        except Exception:
            logger.exception("the visit failed, and is made again")
            telemetry.RECONCILES.labels("error").inc()
            self._queue.retry(key)
        else:
            telemetry.RECONCILES.labels("success").inc()
            self._settle(key, result)

    def _settle(self, key: Key, result: Result) -> None:
        self._queue.forget(key)
        if result.written is not None:
            self._written[key] = result.written
        if result.again_after is not None:
            self._queue.add_after(key, result.again_after)

    def _newest(self, key: Key) -> Manifest | None:
        """The InferenceService as last seen, or as last written where the watch has yet to catch up."""
        kept = next(iter(self._indices["services"].get(key, ())), None)
        seen = None if kept is None else unpacked(kept)
        written = self._written.get(key)
        if seen is None or written is None:
            self._written.pop(key, None)
            return seen
        same_object = seen["metadata"]["uid"] == written["metadata"]["uid"]
        if same_object and _version(written) > _version(seen):
            return written
        del self._written[key]
        return seen

    def _children(self, key: Key) -> Children:
        def having(kind: str) -> tuple[Manifest, ...]:
            return tuple(map(unpacked, self._indices[kind].get(key, ()))) if kind in self._indices else ()

        return Children(
            config_maps=having("config_maps"),
            deployments=having("deployments"),
            controller_revisions=having("controller_revisions"),
            services=having("kubernetes_services"),
            autoscalers=having("autoscalers"),
            disruption_budgets=having("disruption_budgets"),
            routes=having("routes"),
            pods=having("pods"),
        )


def _version(manifest: Manifest) -> int:
    """Resource versions of one object are comparable as numbers."""
    return int(manifest["metadata"]["resourceVersion"])
