"""How much of what costs this side work, and the other next to nothing, a client may send: a token bucket."""


class Allowance:
    """So many at once, and so many a second after that; more where they belong to something useful."""

    __slots__ = ("_burst", "_left", "_rate", "_when")

    def __init__(self, burst: float, per_second: float) -> None:
        self._burst = burst
        self._rate = per_second
        self._left = burst
        self._when = 0.0

    def spend(self, now: float) -> bool:
        """Use one, at a time in seconds; whether there was one left."""
        if self._left < 1:
            self._left = min(self._burst, self._left + (now - self._when) * self._rate)
            self._when = now
            if self._left < 1:
                return False
        elif self._left >= self._burst:
            self._when = now
        self._left -= 1
        return True

    def earn(self, number: float) -> None:
        """Something useful came, which so many may belong to."""
        self._left = min(self._burst, self._left + number)
