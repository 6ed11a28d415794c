"""Windows of flow control."""

import pytest

from serinus_server.http2.allowance import Allowance
from serinus_server.http2.flow_control import MAX_WINDOW, Window, WindowOverrunError


@pytest.mark.parametrize(("size", "spent", "left"), [(10, 10, 0), (10, 0, 10), (0, 0, 0), (-5, 0, -5)])
def test_what_a_window_has_can_be_spent(size: int, spent: int, left: int) -> None:
    window = Window(size)
    window.spend(spent)
    assert window.size == left


@pytest.mark.parametrize(("size", "spent"), [(10, 11), (0, 1), (-5, 1)])
def test_no_more_can_be_spent(size: int, spent: int) -> None:
    with pytest.raises(WindowOverrunError):
        Window(size).spend(spent)


@pytest.mark.parametrize(("size", "grown", "left"), [(0, 5, 5), (10, -20, -10), (-10, MAX_WINDOW, MAX_WINDOW - 10)])
def test_windows_grow_and_shrink(size: int, grown: int, left: int) -> None:
    window = Window(size)
    window.grow(grown)
    assert window.size == left


def test_a_window_has_an_end() -> None:
    window = Window(1)
    window.grow(MAX_WINDOW - 1)
    with pytest.raises(WindowOverrunError):
        window.grow(1)


def test_an_allowance_is_used_up_and_comes_back_with_time_and_use() -> None:
    allowance = Allowance(3, per_second=2)
    assert [allowance.spend(100.0) for _ in range(4)] == [True, True, True, False]
    assert not allowance.spend(100.4)
    assert allowance.spend(100.5)
    allowance.earn(1)
    assert allowance.spend(100.5)
    assert [allowance.spend(500.0) for _ in range(4)] == [True, True, True, False]
