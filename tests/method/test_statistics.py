"""The head start's statistics by hand: which dimensions vary, and numbers that float32 alone would lose."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from u2a.method.head_start.frozen import statistics


def test_far_from_zero_mean_and_deviation_are_those_of_float64() -> None:
    g = torch.Generator().manual_seed(0)
    x = 1e4 + 0.1 * torch.randn(5000, 16, generator=g)
    mean, scale = statistics(x)
    exact = x.double().numpy()
    assert (mean.dtype, scale.dtype) == (torch.float32, torch.float32)
    np.testing.assert_array_equal(mean.numpy(), exact.mean(0).astype(np.float32))
    np.testing.assert_allclose(scale.numpy(), 1 / exact.std(0), rtol=1e-6)


def test_a_deviation_whose_square_is_beyond_float32_counts() -> None:
    _, scale = statistics(torch.tensor([[1e20], [-1e20]]))
    assert (1e20 * scale).tolist() == pytest.approx([1])


@pytest.mark.parametrize(("deviation", "varies"), [(1.1e-3, True), (0.9e-3, False)])
def test_what_varies_by_a_100_000th_of_the_others_root_mean_square_counts(
    deviation: float, varies: bool
) -> None:
    """Deviations of 200, 0, 0 and next to none: their mean square is 10,000, of which the root is 100."""
    x = torch.tensor([200, 0, 0, deviation]) * torch.tensor([[1.0], [-1.0], [-1.0], [1.0]])
    mean, scale = statistics(x)
    assert mean.tolist() == [0, 0, 0, 0]
    assert scale.tolist() == pytest.approx([1 / 200, 0, 0, varies / deviation])


def test_only_what_is_used_is_scaled() -> None:
    x = torch.tensor([[1.0, 2.0], [3.0, 6.0]])
    mean, scale = statistics(x, torch.tensor([True, False]))
    assert (mean.tolist(), scale.tolist()) == ([2, 4], [1, 0])


def test_one_sample_varies_in_nothing_and_none_at_all_has_neither() -> None:
    mean, scale = statistics(torch.tensor([[3.0, -2.0, 0.0]]))
    assert (mean.tolist(), scale.tolist()) == ([3, -2, 0], [0, 0, 0])
    mean, scale = statistics(torch.zeros(0, 3))
    assert (mean.tolist(), scale.tolist()) == ([0, 0, 0], [0, 0, 0])
