"""Draws are repeatable, and are binomial."""

import math
from random import Random

import pytest

from serinus.simulation.draw import binomial


def seeded(seed: int) -> Random:
    return Random(seed)  # noqa: S311


@pytest.mark.parametrize(
    ("trials", "chance", "drawn"),
    [(0, 0.5, 0), (10, 0.0, 0), (10, 1.0, 10), (10, -0.0, 0)],
    ids=["no_trials", "no_chance", "certainty", "negative_zero"],
)
def test_what_is_certain_is_not_drawn(trials: int, chance: float, drawn: int) -> None:
    assert binomial(seeded(1), trials, chance) == drawn


@pytest.mark.parametrize(
    ("trials", "chance"),
    [(20, 0.1), (1000, 0.005), (100, 0.3), (50, 0.9), (1_000_000, 0.0101), (40, 0.5), (1, 0.3)],
    ids=lambda value: f"{value:g}",
)
def test_mean_and_variance_are_binomial(trials: int, chance: float) -> None:
    random, draws = seeded(7), 20_000
    drawn = [binomial(random, trials, chance) for _ in range(draws)]
    mean, variance = trials * chance, trials * chance * (1 - chance)
    assert all(0 <= one <= trials for one in drawn)
    seen_mean = sum(drawn) / draws
    seen_variance = sum((one - seen_mean) ** 2 for one in drawn) / (draws - 1)
    assert abs(seen_mean - mean) < 5 * math.sqrt(variance / draws)
    assert seen_variance == pytest.approx(variance, rel=0.06)


@pytest.mark.parametrize(("trials", "chance"), [(30, 0.2), (60, 0.35)], ids=["waiting_times", "rejection"])
def test_each_number_comes_as_often_as_it_should(trials: int, chance: float) -> None:
    """Pearson's statistic over the numbers that are expected at least 20 times, against its 99.9% quantile."""
    random, draws = seeded(3), 20_000
    seen = [0] * (trials + 1)
    for _ in range(draws):
        seen[binomial(random, trials, chance)] += 1
    expected = [draws * math.comb(trials, k) * chance**k * (1 - chance) ** (trials - k) for k in range(trials + 1)]
    terms = [(found - wanted) ** 2 / wanted for found, wanted in zip(seen, expected, strict=True) if wanted >= 20]
    degrees = len(terms) - 1
    assert sum(terms) < degrees * (1 - 2 / (9 * degrees) + 3.09 * math.sqrt(2 / (9 * degrees))) ** 3


def test_the_same_seed_draws_the_same() -> None:
    assert [binomial(seeded(5), 500, 0.3) for _ in range(3)] == [binomial(seeded(5), 500, 0.3) for _ in range(3)]
