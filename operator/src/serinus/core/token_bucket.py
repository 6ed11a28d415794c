"""A token bucket: how long the next of many requests has to wait, so that no more than a rate are sent."""


class TokenBucket:
    """`rate` tokens a second, of which up to `burst` are saved up. Times are monotonic, in seconds."""

    def __init__(self, rate: float, burst: int, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._at = now
        self._held_until = now

    def take(self, now: float) -> float:
        """Take a token, be it there or not: how many seconds to wait until it may be used."""
        self._tokens = min(self._tokens + (now - self._at) * self._rate, self._burst) - 1
        self._at = now
        return max(-self._tokens / self._rate, self._held_until - now, 0.0)

    def hold(self, now: float, seconds: float) -> None:
        """Let none through for `seconds`, as the server has asked."""
        self._held_until = max(self._held_until, now + seconds)

    def held(self, now: float) -> float:
        """How many seconds it lets none through any more."""
        return max(self._held_until - now, 0.0)
