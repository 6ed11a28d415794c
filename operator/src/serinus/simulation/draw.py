"""Binomial draws from a seeded generator of the standard library."""

import math
from random import Random
from typing import Final

_FEW: Final = 10
"""Successes to be expected under which they are counted one by one."""


def binomial(random: Random, trials: int, chance: float) -> int:
    """How many of `trials` succeed that each succeed with `chance`, between 0 and 1.

    Exact: geometric waiting times where few successes are to be expected, else the transformed rejection with squeeze
    of W. Hörmann, "The generation of binomial random variates", J. Stat. Comput. Simul. 46 (1993), algorithm BTRS.
    """
    if trials == 0 or chance <= 0:
        return 0
    if chance >= 1:
        return trials
    if chance > 0.5:  # noqa: PLR2004 - both algorithms are for the rarer of the two outcomes
        return trials - binomial(random, trials, 1 - chance)
    if trials * chance < _FEW:
        return _by_waiting_times(random, trials, chance)
    return _by_rejection(random, trials, chance)


def _by_waiting_times(random: Random, trials: int, chance: float) -> int:
    """Jump from one success to the next."""
    log_failure = math.log1p(-chance)
    successes = position = 0
    while True:
        position += math.floor(math.log(1 - random.random()) / log_failure) + 1
        if position > trials:
            return successes
        successes += 1


def _by_rejection(random: Random, trials: int, chance: float) -> int:
    """Names are those of the article."""
    spq = math.sqrt(trials * chance * (1 - chance))
    b = 1.15 + 2.53 * spq
    a = -0.0873 + 0.0248 * b + 0.01 * chance
    c = trials * chance + 0.5
    v_r = 0.92 - 4.2 / b
    alpha = (2.83 + 5.1 / b) * spq
    log_odds = math.log(chance / (1 - chance))
    mode = math.floor((trials + 1) * chance)
    h = math.lgamma(mode + 1) + math.lgamma(trials - mode + 1)
    while True:
        u = random.random() - 0.5
        us = 0.5 - abs(u)
        k = math.floor((2 * a / us + b) * u + c) if us > 0 else -1
        if not 0 <= k <= trials:
            continue
        v = random.random()
        if us >= 0.07 and v <= v_r:  # noqa: PLR2004 - the squeeze of the article
            return k
        v *= alpha / (a / (us * us) + b)
        if math.log(max(v, 1e-300)) <= h - math.lgamma(k + 1) - math.lgamma(trials - k + 1) + (k - mode) * log_odds:
            return k
