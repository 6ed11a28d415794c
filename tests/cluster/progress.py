"""Progress lines on standard error, so that no wait is silent."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

STARTED = time.monotonic()
HEARTBEAT_SECONDS = 20.0


def say(text: str) -> None:
    """Write one line with the seconds since the program's start."""
    print(f"[{time.monotonic() - STARTED:6.1f}s] {text}", file=sys.stderr, flush=True)


@contextmanager
def step(text: str) -> Iterator[None]:
    """Say that `text` begins, again every 20 s while it goes on, and how long it took."""
    begun = time.monotonic()
    done = threading.Event()

    def beat() -> None:
        while not done.wait(HEARTBEAT_SECONDS):
            say(f"... {text}, for {time.monotonic() - begun:.0f} s now")

    say(text)
    heart = threading.Thread(target=beat, daemon=True)
    heart.start()
    try:
        yield
    finally:
        done.set()
        heart.join()
    say(f"{text}: {time.monotonic() - begun:.1f} s")
