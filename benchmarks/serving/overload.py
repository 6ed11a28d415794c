"""More requests than the server can answer, at a steady rate: what becomes of them.

An open loop: a client that waits for its reply before it asks again would only ever offer what is answered.
"""

import asyncio
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from benchmarks.serving.contenders import Running, serinus, started
from benchmarks.serving.exchange import PATH, Request, Tensor, request
from benchmarks.serving.load import measure

OFFERED = 3
DEADLINE_SECONDS = 0.5
_CONNECTIONS_FOR_CAPACITY = 8


def run(model: Path, x: Tensor, seconds: int) -> None:
    """Measure and print."""
    sent = request(x, "binary")
    server = serinus("serinus-server", "--access-log", "errors", "--request-timeout", f"{DEADLINE_SECONDS}s")
    with started([server], model, sent) as (running,):
        running.resume()
        result = measure(running, sent, "binary", _CONNECTIONS_FOR_CAPACITY, seconds)
        if result is None:
            raise RuntimeError("nothing was answered, so there is no capacity")
        capacity = result.requests_per_second
        times = asyncio.run(_offer(running, sent, capacity * OFFERED, seconds))
    offered = sum(map(len, times.values())) / seconds
    answered, refused = times.pop(200), times.pop(503, [])
    goodput = len(answered) / seconds
    print(f"\noverload: {offered:,.0f}/s offered to {capacity:,.0f}/s, deadline {DEADLINE_SECONDS} s")
    print(f"  answered {goodput:,.0f}/s, {goodput / capacity:.0%} of capacity; {_quantiles(answered)}")
    print(f"  refused  {len(refused) / seconds:,.0f}/s; {_quantiles(refused)}")
    print(f"  else     { {status: len(each) for status, each in times.items()} or 'nothing' }")


async def _offer(server: Running, sent: Request, rate: float, seconds: int) -> dict[int, list[float]]:
    """Send at a rate; the times of the replies in ms, by status."""
    head = [f"POST {PATH} HTTP/1.1", "Host: h", f"Content-Length: {len(sent.body)}"]
    head += [f"{name}: {text}" for name, text in sent.headers.items()]
    message = "\r\n".join([*head, "", ""]).encode() + sent.body
    times: dict[int, list[float]] = defaultdict(list)
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask() -> None:
        begun = time.perf_counter()
        reader, writer = idle.pop() if idle else await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(message)
        reply = await reader.readuntil(b"\r\n\r\n")
        status = int(reply.split(b" ", 2)[1])
        await reader.readexactly(int(reply.lower().partition(b"content-length: ")[2].split(b"\r\n", 1)[0]))
        times[status].append((time.perf_counter() - begun) * 1000)
        if b"connection: close" in reply.lower():
            writer.close()
        else:
            idle.append((reader, writer))

    begun = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, begun + number / rate - time.perf_counter()))
            group.create_task(ask())
    for _, writer in idle:
        writer.close()
    return times


def _quantiles(milliseconds: list[float]) -> str:
    if not milliseconds:
        return "none"
    median, p99 = np.percentile(milliseconds, [50, 99])
    return f"P50 {median:.1f} ms, P99 {p99:.1f} ms"
