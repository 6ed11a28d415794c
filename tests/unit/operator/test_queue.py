"""The work queue: each key once, never with two workers, later after failures."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serinus.queue import WorkQueue


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """A queue with its clock; `jitter` is the longest delay, unless told otherwise."""

    def __init__(self, jitter: Callable[[float, float], float] = lambda _, longest: longest) -> None:
        self.clock = Clock()
        self.queue: WorkQueue[str] = WorkQueue(self.clock, jitter)

    async def take(self) -> list[str]:
        """All keys that can be had now."""
        taken = []
        while (key := await self.take_one()) is not None:
            taken.append(key)
        return taken

    async def take_one(self) -> str | None:
        getting = asyncio.create_task(self.queue.get())
        for _ in range(3):
            await asyncio.sleep(0)
        if getting.done():
            return getting.result()
        getting.cancel()
        await asyncio.gather(getting, return_exceptions=True)
        return None

    async def work_off(self) -> list[str]:
        taken = []
        while (key := await self.take_one()) is not None:
            taken.append(key)
            self.queue.done(key)
        return taken


def play(story: Callable[[Bench], Awaitable[None]]) -> None:
    asyncio.run(_play(story))


async def _play(story: Callable[[Bench], Awaitable[None]]) -> None:
    await story(Bench())


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def test_keys_come_in_the_order_they_were_added() -> None:
    async def story(bench: Bench) -> None:
        for key in ("b", "a", "c"):
            bench.queue.add(key)
        assert len(bench.queue) == 3
        assert await bench.take() == ["b", "a", "c"]
        assert len(bench.queue) == 0

    play(story)


def test_a_key_that_waits_is_there_once() -> None:
    async def story(bench: Bench) -> None:
        for _ in range(3):
            bench.queue.add("a")
        assert len(bench.queue) == 1
        assert await bench.take() == ["a"]

    play(story)


def test_a_key_that_is_worked_on_comes_again_after_that() -> None:
    async def story(bench: Bench) -> None:
        bench.queue.add("a")
        assert await bench.take() == ["a"]
        bench.queue.add("a")
        bench.queue.add("a")
        assert await bench.take() == []
        bench.queue.done("a")
        assert await bench.take() == ["a"]
        bench.queue.done("a")
        assert await bench.take() == []

    play(story)


def test_a_worker_that_waits_is_woken() -> None:
    async def story(bench: Bench) -> None:
        getting = asyncio.create_task(bench.queue.get())
        await asyncio.sleep(0)
        bench.queue.add("a")
        assert await asyncio.wait_for(getting, 5) == "a"

    play(story)


def test_each_of_several_workers_gets_a_key() -> None:
    async def story(bench: Bench) -> None:
        getting = [asyncio.create_task(bench.queue.get()) for _ in range(3)]
        await asyncio.sleep(0)
        for key in ("a", "b", "c"):
            bench.queue.add(key)
        assert sorted(await asyncio.wait_for(asyncio.gather(*getting), 5)) == ["a", "b", "c"]

    play(story)


def test_a_worker_that_gives_up_waiting_loses_no_key() -> None:
    async def story(bench: Bench) -> None:
        assert await bench.take_one() is None
        bench.queue.add("a")
        assert await bench.take_one() == "a"

    play(story)


def test_add_after_comes_when_its_time_has_come() -> None:
    async def story(bench: Bench) -> None:
        bench.queue.add_after("a", seconds(30))
        bench.clock.now += 29.9
        assert await bench.take() == []
        assert len(bench.queue) == 0
        bench.clock.now += 0.1
        assert await bench.take() == ["a"]

    play(story)


@pytest.mark.parametrize("delay", [0, -5])
def test_add_after_no_time_comes_at_once(delay: int) -> None:
    async def story(bench: Bench) -> None:
        bench.queue.add_after("a", seconds(delay))
        assert await bench.take() == ["a"]

    play(story)


def test_a_waiting_worker_is_told_of_a_delay_that_ends_sooner() -> None:
    async def story(bench: Bench) -> None:
        bench.queue.add_after("a", seconds(3600))
        getting = asyncio.create_task(bench.queue.get())
        await asyncio.sleep(0)
        bench.queue.add_after("b", seconds(0))
        assert await asyncio.wait_for(getting, 5) == "b"

    play(story)


@pytest.mark.parametrize(("first", "second"), [(10, 30), (30, 10)])
def test_the_sooner_of_two_delays_counts_and_the_key_comes_once(first: int, second: int) -> None:
    async def story(bench: Bench) -> None:
        bench.queue.add_after("a", seconds(first))
        bench.queue.add_after("a", seconds(second))
        bench.clock.now += 10
        assert await bench.work_off() == ["a"]
        bench.clock.now += 100
        assert await bench.work_off() == []

    play(story)


def test_a_key_that_is_added_needs_no_delay_any_more() -> None:
    async def story(bench: Bench) -> None:
        bench.queue.add_after("a", seconds(10))
        bench.queue.add("a")
        assert await bench.work_off() == ["a"]
        bench.clock.now += 10
        assert await bench.work_off() == []

    play(story)


def test_a_delay_that_ends_while_the_key_is_worked_on_comes_after_that() -> None:
    async def story(bench: Bench) -> None:
        bench.queue.add("a")
        assert await bench.take() == ["a"]
        bench.queue.add_after("a", seconds(10))
        bench.clock.now += 10
        assert await bench.take() == []
        bench.queue.done("a")
        assert await bench.take() == ["a"]

    play(story)


def test_failures_are_retried_later_each_time_up_to_a_minute() -> None:
    async def story(bench: Bench) -> None:
        delays = []
        for _ in range(12):
            bench.queue.retry("a")
            before = bench.clock.now
            while not await bench.work_off():
                bench.clock.now = bench.queue._delayed[0][0]
            delays.append(round(bench.clock.now - before, 1))
        assert delays == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 60, 60, 60]

    play(story)


def test_a_success_starts_the_delays_anew() -> None:
    async def story(bench: Bench) -> None:
        for _ in range(5):
            bench.queue.retry("a")
        bench.queue.forget("a")
        bench.queue.add("a")
        await bench.work_off()
        bench.queue.retry("a")
        bench.clock.now += 0.2
        assert await bench.work_off() == ["a"]

    play(story)


def test_one_key_does_not_pay_for_the_failures_of_another() -> None:
    async def story(bench: Bench) -> None:
        for _ in range(9):
            bench.queue.retry("a")
            await bench.work_off()
        bench.queue.retry("b")
        bench.clock.now += 0.2
        assert "b" in await bench.work_off()

    play(story)


def test_retries_are_spread_between_half_and_all_of_the_delay() -> None:
    asked: list[tuple[float, float]] = []

    def jitter(shortest: float, longest: float) -> float:
        asked.append((shortest, longest))
        return shortest

    queue: WorkQueue[str] = WorkQueue(Clock(), jitter)
    for _ in range(3):
        queue.retry("a")
    assert asked == [(0.1, 0.2), (0.2, 0.4), (0.4, 0.8)]


KEYS = ("a", "b", "c")
operations = st.lists(
    st.tuples(st.sampled_from(["add", "later", "take", "done", "retry", "pass"]), st.sampled_from(KEYS)), max_size=40
)


@given(operations)
@settings(max_examples=100)
def test_no_key_is_lost_and_none_is_with_two_workers(steps: list[tuple[str, str]]) -> None:
    async def story(bench: Bench) -> None:
        owed: set[str] = set()
        working: list[str] = []
        for operation, key in steps:
            match operation:
                case "add":
                    bench.queue.add(key)
                    owed.add(key)
                case "later":
                    bench.queue.add_after(key, seconds(5))
                    owed.add(key)
                case "retry":
                    bench.queue.retry(key)
                    owed.add(key)
                case "pass":
                    bench.clock.now += 3
                case "take":
                    taken = await bench.take_one()
                    if taken is not None:
                        assert taken not in working
                        working.append(taken)
                        owed.discard(taken)
                case "done" if working:
                    bench.queue.done(working.pop())
        for key in working:
            bench.queue.done(key)
        bench.clock.now += 120
        assert owed <= set(await bench.work_off())

    play(story)


def test_it_tells_how_long_the_first_key_has_waited_and_how_long_each_did() -> None:
    waited: list[float] = []

    async def story() -> None:
        clock = Clock()
        queue: WorkQueue[str] = WorkQueue(clock, on_taken=waited.append)
        assert queue.oldest() == 0.0
        queue.add("a")
        clock.now += 5
        queue.add("b")
        queue.add("a")
        clock.now += 1
        assert queue.oldest() == 6.0
        await queue.get()
        assert queue.oldest() == 1.0
        await queue.get()
        assert queue.oldest() == 0.0

    asyncio.run(story())
    assert waited == [6.0, 1.0]


def test_a_retry_waits_at_least_as_long_as_it_was_asked_to() -> None:
    async def story() -> None:
        bench = Bench()
        bench.queue.add("a")
        await bench.take()
        bench.queue.retry("a", at_least=30.0)
        bench.queue.done("a")
        bench.clock.now += 29.9
        assert await bench.take() == []
        bench.clock.now += 0.5
        assert await bench.take() == ["a"]

    asyncio.run(story())
