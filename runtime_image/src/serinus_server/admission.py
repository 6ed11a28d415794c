"""How much may be in work at once: a bound on requests, and one on the bytes of their bodies."""

from dataclasses import dataclass


@dataclass
class Admission:
    """Counts what is in work. Asked before a body is read, so that a refusal costs nothing."""

    max_requests: int
    max_bytes: int
    requests: int = 0
    bytes: int = 0

    def share(self, workers: int) -> None:
        """Take only this process's share of what all may take together, as one of so many."""
        self.max_requests = max(1, self.max_requests // workers)
        self.max_bytes //= workers

    def refusal(self, size: int) -> str | None:
        """Why a request with a body of `size` bytes has no place now, or None if it has."""
        if self.requests >= self.max_requests:
            return "in_flight_requests"
        if self.requests and self.bytes + size > self.max_bytes:
            return "in_flight_bytes"
        return None

    def enter(self, size: int) -> None:
        """Take a place."""
        self.requests += 1
        self.bytes += size

    def resize(self, declared: int, actual: int) -> None:
        """A body turned out to be `actual` bytes long; without a declared length it came in chunks."""
        self.bytes += actual - declared

    def leave(self, size: int) -> None:
        """Give the place back."""
        self.requests -= 1
        self.bytes -= size
