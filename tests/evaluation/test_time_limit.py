"""A limit of time for several fits: equal parts of what is left, and the best so far where it ends."""

from __future__ import annotations

import numpy as np
import pytest

from u2a.evaluation import baselines
from u2a.evaluation.baselines import Features
from u2a.evaluation.probes import best_probe
from u2a.evaluation.time_limit import TimeLimit


class Clock:
    """Shows the next of these times, then the last one for ever."""

    def __init__(self, *times: float) -> None:
        self.times = list(times)

    def __call__(self) -> float:
        return self.times.pop(0) if len(self.times) > 1 else self.times[0]


def test_each_fit_may_take_an_equal_part_of_what_is_left() -> None:
    clock = Clock(0)
    limit = TimeLimit(12, 3, clock)
    for begins, ends in ((0, 4), (1, 6.5), (6.5, 12)):  # the first took 1 of its 4 seconds
        clock.times = [begins]
        limit.begin()
        clock.times = [ends - 0.01]
        assert not limit.up()
        clock.times = [ends]
        assert limit.up()
    assert limit.cut == 3


def test_parts_of_a_fit_share_its_time_and_count_once() -> None:
    clock = Clock(0)
    limit = TimeLimit(8, 2, clock)  # 4 seconds for the first fit
    limit.begin()
    for left, begins, ends in ((2, 0, 2), (1, 1, 4)):
        clock.times = [begins]
        limit.part(left)
        clock.times = [ends - 0.01]
        assert (limit.up(), limit.over()) == (False, False)
        clock.times = [ends]
        assert limit.up()
    assert limit.over()
    assert limit.cut == 1


@pytest.mark.parametrize("fit", ["zero_filled_probe", "dropout_mlp"])
def test_a_fit_that_is_cut_says_so_and_still_answers(fit: str) -> None:
    draw = np.random.default_rng(0)
    y = draw.integers(3, size=60)
    read = (np.eye(3)[y] + 0.1 * draw.normal(size=(60, 3)),)
    side = Features(read, np.ones((60, 1), bool), y)
    late = TimeLimit(1, 1, Clock(0, 0, 0, 2))
    (p_NC,) = getattr(baselines, fit)(side, side, side, [(True,)], limit=late)
    assert late.cut == 1
    np.testing.assert_allclose(p_NC.sum(1), 1, atol=1e-5)
    assert (p_NC.argmax(1) == y).mean() > 0.5


@pytest.mark.parametrize("fit", ["zero_filled_probe", "dropout_mlp"])
def test_what_is_fitted_again_after_a_cut_choice_still_answers(fit: str) -> None:
    """No validation sample: a part of the training samples chooses, and a part of the time is left."""
    draw = np.random.default_rng(0)
    y = draw.integers(3, size=60)
    side = Features(((np.eye(3)[y] + 0.1 * draw.normal(size=(60, 3))),), np.ones((60, 1), bool), y)
    late = TimeLimit(1, 1, Clock(0, 0, 0, 2))
    (p_NC,) = getattr(baselines, fit)(side, side.rows(np.arange(0)), side, [(True,)], limit=late)
    assert late.cut == 1
    assert (p_NC.argmax(1) == y).mean() > 0.5


def test_a_path_of_strengths_leaves_the_time_for_what_comes_after() -> None:
    """Eight seconds for seven strengths and one fit more: the seventh ends after seven."""
    x, y = np.random.default_rng(0).normal(size=(30, 2)), np.arange(30) % 3
    ends: list[float] = []

    class Asked(TimeLimit):
        def part(self, left: int) -> None:
            super().part(left)
            ends.append(self._part_end)

    limit = Asked(8, 1, Clock(0))
    limit.begin()
    best_probe(x, y, x, y, 3, (1.0, 0.9), limit, fits_left=2)
    assert ends == [2, pytest.approx(8 / 3)]
