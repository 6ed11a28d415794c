"""What `make test` runs side by side, and when it has failed."""

import pytest

from tests.whole import END_TO_END, PLATFORM, overall, parts


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        pytest.param([0, 0, 0], 0, id="all passed"),
        pytest.param([0, 1, 0], 1, id="one failed"),
        pytest.param([2, 0, 1], 2, id="two failed"),
        pytest.param([0, -9, 0], -9, id="one was killed"),
    ],
)
def test_it_passes_where_every_part_does(statuses: list[int], expected: int) -> None:
    assert overall(statuses) == expected


def test_the_halves_have_a_cluster_each() -> None:
    one, two, rest = parts(one_cluster=False, cluster="serinus-test")
    assert one.environment != two.environment
    assert one.arguments == [END_TO_END, f"--ignore={PLATFORM}"]
    assert two.arguments == [PLATFORM]
    assert rest.arguments == [f"--ignore={END_TO_END}"]


def test_on_one_cluster_the_end_to_end_tests_are_one_part() -> None:
    together, rest = parts(one_cluster=True, cluster="serinus-test")
    assert (together.arguments, together.environment) == ([END_TO_END], {})
    assert rest.arguments == [f"--ignore={END_TO_END}"]
